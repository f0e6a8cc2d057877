"""The precisions that a model's networks can run in, and how their graphs are called."""

from __future__ import annotations

from apcodec_deploy.errors import ApcodecError

AUTO = "auto"
FLOAT32 = "float32"
FLOAT16 = "float16"
SHORT = {FLOAT32: "fp32", FLOAT16: "fp16"}
"""Every precision and its short name, which the user may write as well and which a graph's file carries."""


def precision_named(text: str) -> str:
    """A precision by either of its names; ``auto`` stays.

    Raises:
        ApcodecError: There is none of that name.
    """
    for name, short in SHORT.items():
        if text in (name, short):
            return name
    if text == AUTO:
        return AUTO
    names = ", ".join(f"{name} ({short})" for name, short in SHORT.items())
    raise ApcodecError(f"no precision is called {text!r}; there are: {AUTO}, {names}")


def graph_file(graph: str, precision: str = FLOAT32) -> str:
    """The file of a graph in a bundle: ``encoder.onnx``, ``encoder.fp16.onnx``."""
    return f"{graph}.onnx" if precision == FLOAT32 else f"{graph}.{SHORT[precision]}.onnx"
