"""The precisions that a model's networks can run in, and how their graphs are called."""

from __future__ import annotations

from apcodec_deploy.errors import ApcodecError

AUTO = "auto"
FLOAT32 = "float32"
FLOAT16 = "float16"
BFLOAT16 = "bfloat16"
INT8 = "int8"
SHORT = {FLOAT32: "fp32", FLOAT16: "fp16", BFLOAT16: "bf16", INT8: "int8"}
"""Every precision and its short name, which the user may write as well and which a graph's file carries."""
ON_GPU = (FLOAT32, FLOAT16)
"""What engines and ONNX Runtime on CUDA compute in."""
ON_CPU = (FLOAT32, BFLOAT16, INT8)
"""What backends on the CPU compute in; which of them is a matter of the backend and of the processor."""
EXPORTED = (FLOAT32, FLOAT16, INT8)
"""The precisions that have graphs of their own; bfloat16 is how the float32 graphs are computed."""


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
    names = ", ".join(name if name == short else f"{name} ({short})" for name, short in SHORT.items())
    raise ApcodecError(f"no precision is called {text!r}; there are: {AUTO}, {names}")


def graph_file(graph: str, precision: str = FLOAT32) -> str:
    """The file of a graph in a bundle: ``encoder.onnx``, ``encoder.fp16.onnx``."""
    return f"{graph}.onnx" if precision == FLOAT32 else f"{graph}.{SHORT[precision]}.onnx"
