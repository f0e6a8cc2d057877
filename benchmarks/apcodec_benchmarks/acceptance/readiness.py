"""What an acceptance needs, looked at before a minute of a GPU is spent."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from apcodec_benchmarks.acceptance.checks import TESTS
from apcodec_benchmarks.acceptance.parts import Part
from apcodec_benchmarks.environment import gpus
from apcodec_deploy.cli.main import GROUP
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.errors import DeviceError

_TESTED = ("pytest", "hypothesis")
_EXPORTED = ("torch", "onnx", "onnxscript", "safetensors")
_NEEDS = {
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
_LEAST_DISK = 4 << 30


def lacking(parts: Sequence[Part], *, card: bool = True) -> dict[str, list[str]]:
    """What is missing for each part, in words.

    Args:
        parts: That are to run.
        card: Whether a GPU must be there; a rehearsal needs none.
    """
    found = {}
    for part in parts:
        wanted = [name for name in _NEEDS[part.name] if card or name != "pycuda"]
        missing = [f"Python package {name}" for name in wanted if importlib.util.find_spec(name) is None]
        if part.name in ("tensorrt", "streams", "training") and not entry_points(group=GROUP):
            missing.append("installed apcodec-deploy, whose commands are found by its metadata")
        if "pytest" in _NEEDS[part.name] and not TESTS.is_dir():
            missing.append(f"{TESTS} (a checkout, or the source distribution)")
        if card and part.name != "model":
            missing += _driver()
        if missing:
            found[part.name] = missing
    return found


def told(folder: Path) -> list[str]:
    """What else a reader should know before it starts."""
    cards = [", ".join(f"{key} {value}" for key, value in each.items()) for each in gpus()]
    lines = cards or ["no GPU that nvidia-smi sees"]
    tensorrt = FLAVOURS["tensorrt"]
    lines.append(f"TensorRT is {'' if tensorrt.installed else 'not '}installed")
    folder.mkdir(parents=True, exist_ok=True)
    status = os.statvfs(folder)
    if (free := status.f_bavail * status.f_frsize) < _LEAST_DISK:
        lines.append(f"{folder} has {free / 1e9:.1f} GB left; {_LEAST_DISK / 1e9:.0f} GB are needed")
    return lines


def _driver() -> list[str]:
    try:
        driver_library()
    except DeviceError as error:
        return [str(error)]
    return []
