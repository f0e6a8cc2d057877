"""What a release may hold: sizes are printed, and hidden, compiled and huge files are found."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from import_graph import ROOT


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "distributions.py", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def made(folder: Path, *names: str, size: int = 10) -> None:
    """A wheel and a source distribution of files with these names."""
    with zipfile.ZipFile(folder / "a-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in names:
            wheel.writestr(name, bytes(size))
    with tarfile.open(folder / "a-1.tar.gz", "w:gz") as source:
        for name in names:
            info = tarfile.TarInfo(f"a-1/{name}")
            info.size = size
            source.addfile(info, io.BytesIO(bytes(size)))


def test_sizes_are_printed(tmp_path: Path) -> None:
    made(tmp_path, "a/__init__.py", "a/model.onnx", size=2_000_000)
    found = checked(tmp_path)
    assert found.returncode == 0, found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines()] == ["a-1-py3-none-any.whl", "a-1.tar.gz"]
    assert all("4.0 MB unpacked, 2 files" in line for line in found.stdout.splitlines())


@pytest.mark.parametrize(
    ("name", "words"),
    [("a/.secret", "is hidden"), ("a/x.so", "is compiled"), ("a/__pycache__/x.pyc", "is compiled")],
)
def test_what_does_not_belong_there_is_named(name: str, words: str, tmp_path: Path) -> None:
    made(tmp_path, "a/__init__.py", name)
    found = checked(tmp_path)
    assert found.returncode == 1
    assert found.stderr.count(f"{name} {words}") == 2


def test_a_huge_file_is_named(tmp_path: Path) -> None:
    made(tmp_path, "a/huge.bin", size=21_000_000)
    assert "a/huge.bin has 21.0 MB" in checked(tmp_path).stderr


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    assert checked(tmp_path).returncode == 1
