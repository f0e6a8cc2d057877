"""The machine and the versions behind a figure, without which nobody can judge it. No name of a host, no path."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from apcodec_deploy.machine import available_cpus
from apcodec_deploy.processor import this_processor
from apcodec_deploy.version import __version__

_PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "transformers",
    "soundfile",
    "soxr",
    "tensorrt",
    "tensorrt_cu12_bindings",
    "tensorrt_cu13_bindings",
    "tensorrt-rtx",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "pycuda",
    "pystoi",
    "pesq",
)
_GPU_FIELDS = ("name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit")


def environment() -> dict[str, Any]:
    """CPU, GPU, driver, clocks, memory, versions, and the revision of this project."""
    return {
        "apcodec-deploy": __version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "gpus": gpus(),
        "memory_bytes": _memory(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The git commit of the checkout that this file is part of, with a mark where it was changed."""
    here = Path(__file__).resolve().parent
    commit = _output("git", "-C", str(here), "rev-parse", "--short=12", "HEAD")
    if commit is None or _output("git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return commit + ("-changed" if _output("git", "-C", str(here), "status", "--porcelain", "-uno") else "")


def _cpu() -> dict[str, Any]:
    processor = this_processor()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "name": processor.name,
        "usable": available_cpus(),
        "mhz": _megahertz(),
        "instructions": list(processor.instructions),
        "limit": processor.limit or None,
        "load_before": load,
    }


def _megahertz() -> float | None:
    """The clock of the first CPU, as Linux tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def _memory() -> int | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpus() -> list[dict[str, str]]:
    """What the driver's own tool says; clocks as they are now, before the work."""
    said = _output("nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader")
    rows = [line.split(", ") for line in (said or "").splitlines()]
    return [dict(zip(_GPU_FIELDS, row, strict=True)) for row in rows if len(row) == len(_GPU_FIELDS)]


def device_memory(process: int) -> int | None:
    """Bytes that a process holds on all GPUs, as the driver's own tool says; None where it does not."""
    said = _output("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    held = [line.split(", ") for line in (said or "").splitlines()]
    found = [int(row[1]) << 20 for row in held if len(row) == 2 and row[0] == str(process) and row[1].isdecimal()]
    return sum(found) if found else None


def _output(*command: str) -> str | None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()
