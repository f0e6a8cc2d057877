"""The packages that an acceptance imports; this file imports none of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

BASE = ("numpy", "onnxruntime", "platformdirs", "soundfile", "soxr", "typer", "rich")
"""What this project needs everywhere."""
_TESTED = ("pytest", "hypothesis")
_EXPORTED = ("torch", "onnx", "onnxscript", "safetensors")
NEEDS = {
    "model": _EXPORTED,
    "device": ("pycuda", "torch", "onnxruntime", *_TESTED),
    "onnxruntime": ("onnxruntime", "onnx", *_TESTED),
    "tensorrt": ("pycuda", "onnx", "filelock", *_TESTED),
    "streams": (*_EXPORTED, "pycuda", "onnxruntime", "filelock"),
    "others": ("torch", "transformers", "safetensors"),
    "folder": ("onnxruntime", "soundfile", "soxr"),
    "training": (*_EXPORTED, "transformers", "tensorboard", "pystoi"),
}
"""The modules that each part imports."""


def absent(names: Iterable[str]) -> list[str]:
    """Those that cannot be found."""
    return [name for name in names if importlib.util.find_spec(name) is None]
