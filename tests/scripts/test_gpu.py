"""``scripts/gpu --offline``: an environment from a folder, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("apcodec_deploy", "export", "engines", "benchmarks", "training", "tests")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script beside the packages, in a place of its own."""
    if sys.platform == "win32":
        pytest.skip("it is a shell script")
    made = tmp_path / "checkout"
    (made / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "gpu", made / "scripts")
    for name in PACKAGES:
        (made / name).symlink_to(ROOT / name)
    return made


def wheel(folder: Path, name: str) -> None:
    """A wheel of one package that knows its version."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": "__version__ = '10.6.0'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)


def run(checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["sh", checkout / "scripts" / "gpu", *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command, env=environment | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )


def test_wheels_files_beside_them_and_libraries_become_an_environment(checkout: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    (wheels / "site" / "tensorrt_bindings").mkdir(parents=True)
    (wheels / "lib").mkdir()
    wheel(wheels, "tensorrt_bindings")
    (wheels / "site" / "tensorrt_bindings" / "large.so").write_bytes(b"large")
    ran = run(checkout, "--offline", wheels, "--help")
    assert ran.returncode == 0, ran.stderr
    assert "The acceptance of a machine with an NVIDIA GPU." in ran.stdout
    site = checkout / "gpu-results" / "site"
    assert (site / "tensorrt_bindings" / "large.so").read_bytes() == b"large"
    asked = [sys.executable, "-c", "import tensorrt; print(tensorrt.__version__)"]
    answer = subprocess.run(
        asked, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "10.6.0\n"


def test_a_folder_that_is_not_there_is_told(checkout: Path) -> None:
    ran = run(checkout, "--offline", "nowhere")
    assert ran.returncode == 2
    assert ran.stderr == "scripts/gpu: there is no folder 'nowhere'; expected --offline WHEELS\n"
