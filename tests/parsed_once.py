"""onnxscript's operators, which it parses anew for every graph that PyTorch exports: an eighth of an export's time."""

from __future__ import annotations

import functools
import sys


def parse_operators_once() -> None:
    """Have this process parse each of them once, if it has loaded onnxscript.

    What is kept is what the property gave. An onnxscript that has no such property is left as it is.
    """
    values = sys.modules.get("onnxscript._internal.values")
    function = getattr(values, "TracedOnnxFunction", None)
    parse = getattr(function, "function_ir", None)
    if isinstance(parse, property) and parse.fget is not None:
        function.function_ir = property(functools.cache(parse.fget))  # type: ignore[union-attr]
