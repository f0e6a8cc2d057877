"""What an acceptance needs, looked at before a minute of a GPU is spent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from apcodec_benchmarks.acceptance.checks import CLIPS, TESTS
from apcodec_benchmarks.acceptance.needs import NEEDS, absent
from apcodec_benchmarks.acceptance.parts import Part
from apcodec_benchmarks.environment import gpus
from apcodec_deploy.cli.finding import version_of
from apcodec_deploy.cli.main import GROUP
from apcodec_deploy.cuda.driver import LIBRARIES, driver_library
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.engines.trouble import trouble_of
from apcodec_deploy.errors import DeviceError, OutputError

_TORCH_ON_CARD = ("device", "others", "training")
"""Parts in which PyTorch runs on the card."""
_LEAST_DISK = 4 << 30
_SECONDS = 60.0
_CUDA_PROVIDER = """
from apcodec_deploy.backends.onnxruntime import CUDA_PROVIDER
from apcodec_deploy.ort import cuda_trouble, onnxruntime, preload_cuda

if CUDA_PROVIDER not in onnxruntime.get_available_providers():
    print("ONNX Runtime built for CUDA")
else:
    preload_cuda()
    if trouble := cuda_trouble():
        print(f"ONNX Runtime with CUDA: {trouble}")
"""


def lacking(parts: Sequence[Part], *, card: bool = True) -> dict[str, list[str]]:
    """What is missing for each part, in words.

    Args:
        parts: That are to run.
        card: Whether a GPU must be there; a rehearsal needs none.
    """
    driver = _driver() if card else []
    wanted = {part.name: [name for name in NEEDS[part.name] if card or name != "pycuda"] for part in parts}
    names = sorted({name for each in wanted.values() for name in each})
    missing = {name: f"Python package {name}" for name in absent(names)}
    if card and not driver:
        missing |= _broken([name for name in names if name not in missing])
    found = {}
    for part in parts:
        lacks = [missing[name] for name in wanted[part.name] if name in missing]
        if part.name in ("tensorrt", "streams", "training") and not entry_points(group=GROUP):
            lacks.append("installed apcodec-deploy, whose commands are found by its metadata")
        if "pytest" in wanted[part.name]:
            lacks += [
                f"{each} (a checkout, or the source distribution)" for each in (TESTS, CLIPS) if not each.is_dir()
            ]
        if card and part.name != "model":
            lacks += driver or ([] if lacks else _builds(part))
        if lacks:
            found[part.name] = lacks
    return found


def _broken(names: Sequence[str]) -> dict[str, str]:
    """Packages that are there and cannot be imported, for want of another mostly; each in a process of its own.

    That takes no longer than the slowest, and what was read once is read faster by the parts.
    """
    with ThreadPoolExecutor(len(names) or 1) as pool:
        said = pool.map(_import, names)
    return {name: f"Python package {name} that works ({why})" for name, why in zip(names, said, strict=True) if why}


def _import(name: str) -> str:
    """Why a package cannot be imported; empty where it can."""
    command = [sys.executable, "-c", f"import {'pycuda.driver' if name == 'pycuda' else name}"]
    return _last_words(command, "import")


def _last_words(command: Sequence[str], what: str) -> str:
    """Why a process failed, by its last line; what it printed where it did not."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no {what} within {_SECONDS:.0f} s"
    lines = (ran.stderr if ran.returncode else ran.stdout).strip().splitlines()
    return lines[-1] if lines else f"it died with code {ran.returncode}" if ran.returncode else ""


def told(folder: Path, *, card: bool = True) -> list[str]:
    """What else a reader should know before it starts.

    Args:
        folder: For what is found; made where it is not there.
        card: Whether a GPU must be there.

    Raises:
        OutputError: It cannot be written.
    """
    cards = [", ".join(f"{key} {value}" for key, value in each.items()) for each in gpus()]
    lines = cards or ["no GPU that nvidia-smi sees"]
    if card:
        tensorrt = FLAVOURS["tensorrt"]
        trouble = trouble_of(tensorrt) if tensorrt.installed else "not installed"
        lines.append(f"TensorRT: {trouble or 'it makes a builder'}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        status = os.statvfs(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}; name another folder with --out") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder} cannot be written; name another folder with --out")
    if (free := status.f_bavail * status.f_frsize) < _LEAST_DISK:
        lines.append(f"{folder} has {free / 1e9:.1f} GB left; {_LEAST_DISK / 1e9:.0f} GB are needed")
    return lines


def _builds(part: Part) -> list[str]:
    """Packages that are there in a build without CUDA, or miss libraries of it."""
    missing = []
    if part.name in _TORCH_ON_CARD and (version := version_of("torch") or "").endswith("+cpu"):
        missing.append(f"PyTorch built for CUDA ({version} is installed)")
    if "onnxruntime" in NEEDS[part.name] and (trouble := _provider_trouble()):
        missing.append(trouble)
    return missing


@cache
def _provider_trouble() -> str:
    """Why ONNX Runtime's CUDA provider does not load, asked in a process of its own; empty where it does."""
    return _last_words([sys.executable, "-c", _CUDA_PROVIDER], "answer of ONNX Runtime")


def _driver() -> list[str]:
    try:
        driver_library()
    except DeviceError:
        return [f"NVIDIA driver ({' or '.join(LIBRARIES)} does not load)"]
    return []
