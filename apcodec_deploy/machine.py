"""What this process may use of its machine."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

from apcodec_deploy.cgroups import groups

_ROOT = Path("/")


def available_cpus(root: Path = _ROOT) -> int:
    """CPUs that this process may use: the least of the machine's, its affinity, and its control groups' quotas.

    A quota of two and a half CPUs counts as three: three threads then use it up, and wait for a sixth of the time.

    Args:
        root: Of the file system in which control groups are looked for, for tests.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in groups("cpu", root) if (quota := group.cpus()) is not None]
    return max(1, min([count, *(math.ceil(quota) for quota in quotas)]))


def available_memory(root: Path = _ROOT) -> int | None:
    """Bytes of memory that this process may still take: the least of the machine's and its control groups'.

    Args:
        root: As in ``available_cpus``.

    Returns:
        None where the system does not tell (macOS, Windows).
    """
    left = [free for group in groups("memory", root) if (free := group.free_memory()) is not None]
    if (machine := _machine_memory(root)) is not None:
        left.append(machine)
    return min(left, default=None)


def give_back_memory() -> None:
    """Return what was freed to the system. The C library of Linux would keep hundreds of megabytes for later."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def _machine_memory(root: Path) -> int | None:
    """``MemAvailable`` of Linux."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if name == "MemAvailable" and words and words[0].isdecimal():
            return 1024 * int(words[0])
    return None
