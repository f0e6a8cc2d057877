"""Things that take long to make, made once per test run and shared by all of its processes.

Several runs share them where ``APCODEC_TESTS_MADE`` names a folder; ``scripts/test`` makes one, for itself alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

SHARED = "APCODEC_TESTS_MADE"
"""The environment variable: a folder that nobody else writes into, and that is gone before anything is changed."""


def made_once(name: str, make: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file or folder of a test run; whoever comes first makes it, the others wait and share it.

    Args:
        name: Of it, the same in all processes. Nobody may change it.
        make: Writes it to a path that does not exist yet.
        tmp_path_factory: The run's own.
    """
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # what the processes of a run have in common
    path = Path(os.environ.get(SHARED) or run / "made-once") / name
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_name(f"{name}.lock")):
        if not path.exists():
            make(path)
    return path
