"""Things that take long to make, made once per test run and shared by all of its processes.

Several runs share them where ``APCODEC_TESTS_MADE`` names a folder. ``scripts/test`` keeps one for as long as nothing
changes that they are made of: ``python tests/made_once.py`` prints a key of that.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

Make = Callable[[Path], object]
"""Writes a thing to a path that does not exist yet."""
SHARED = "APCODEC_TESTS_MADE"
"""The environment variable: a folder for things that are made of the same sources. They appear in it whole."""
_FOR_EVER = -1.0


def made_once(
    name: str, make: Make, tmp_path_factory: pytest.TempPathFactory, others: Mapping[str, Make] | None = None
) -> Path:
    """A file or folder of a test run; whoever comes first makes it, and the others share it.

    Args:
        name: Of it, the same in all processes. Nobody may change it.
        make: Makes it.
        tmp_path_factory: The run's own.
        others: By name, what the run needs besides. A process makes that while another one is at what it came for.
    """
    folder = Path(os.environ.get(SHARED) or of_the_run(tmp_path_factory) / "made-once")
    rest = iter((others or {}).items())
    while not _made(folder / name / name, make):
        if (other := next(rest, None)) is None:
            _made(folder / name / name, make, patience=_FOR_EVER)
            break
        _made(folder / other[0] / other[0], other[1])
    return folder / name / name


def of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the processes of a run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _made(path: Path, make: Make, patience: float = 0.0) -> bool:
    """Make it, alone in a folder, where it is not there yet; whether no other process is still at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(Timeout), FileLock(path.parent.with_suffix(".lock"), timeout=patience):
        if not path.exists():
            make(path)
        return True
    return False


def key_of_sources(root: Path) -> str:
    """Changes with everything that exports are made of: code, golden checkpoints, and what exports and quantises.

    Args:
        root: The repository.
    """
    tests = root / "tests"
    sources = [tests / "exports.py", tests / "engines" / "test_building.py", *(tests / "golden").rglob("*")]
    for package in ("apcodec_deploy", "export/apcodec_export"):
        sources += (path for path in (root / package).rglob("*") if path.suffix in (".py", ".flac"))
    versions = [f"{name} {version(name)}" for name in ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")]
    key = hashlib.sha256("\n".join([sys.version, *versions]).encode())
    for path in sorted(filter(Path.is_file, sources)):
        key.update(f"\n{path.relative_to(root).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return key.hexdigest()[:16]


if __name__ == "__main__":
    sys.stdout.write(key_of_sources(Path(__file__).parents[1]))
