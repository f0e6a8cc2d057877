"""``scripts/gpu --offline``: an environment from a folder, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
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


def wheel(folder: Path, name: str, tag: str = "py3-none-any", more: dict[str, str] | None = None) -> None:
    """A wheel of one package that knows its version, and what more is in it."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": "__version__ = '10.6.0'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/RECORD": "",
        **(more or {}),
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)


def run(checkout: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", checkout / "scripts" / "gpu", *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command,
        env=environment | {"PYTHON": sys.executable, **variables},
        cwd=checkout.parent,
        capture_output=True,
        text=True,
        check=False,
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
    (site / "kept").touch()
    run(checkout, "--offline", wheels, "--help")
    assert (site / "kept").exists()
    (wheels / "site" / "another").touch()
    run(checkout, "--help", f"--offline={wheels}")  # anywhere among the options
    assert not (site / "kept").exists()
    assert (site / "another").exists()


def test_of_the_wheels_of_several_pythons_the_one_that_fits_is_taken(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "codec", "cp39-none-any", {"codec/old.py": ""})
    wheel(tmp_path / "wheels", "codec")
    ran = run(checkout, "--offline", "wheels", "--help")  # from where it is called
    assert ran.returncode == 0, ran.stderr
    assert not (checkout / "gpu-results" / "site" / "codec" / "old.py").exists()
    wheel(tmp_path / "wheels", "foreign", "cp39-none-any")
    ran = run(checkout, "--offline", "wheels", "--help")
    assert ran.returncode == 2
    assert "scripts/gpu: '" in ran.stderr and "could not be set up for Python 3." in ran.stderr


def test_libraries_of_wheels_come_after_those_of_the_folder(checkout: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "nvidia_cublas", more={"nvidia/cu13/lib/libcublas.so.13": ""})
    (checkout / "benchmarks").unlink()
    package = checkout / "benchmarks" / "apcodec_benchmarks"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "acceptance.py").write_text("import os; print(os.environ['LD_LIBRARY_PATH'])\n")
    ran = run(checkout, "--offline", wheels, LD_LIBRARY_PATH="/mine")
    first, second, *_, last = ran.stdout.strip().split(":")
    assert (first, last) == (f"{wheels}/lib", "/mine")
    assert second == f"{checkout}/gpu-results/site/nvidia/cu13/lib"


def test_a_bare_python_is_told_what_it_lacks(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    ran = run(checkout, "--offline", "wheels", PYTHON=str(bare / "bin" / "python"))
    assert ran.returncode == 2
    assert ran.stderr.startswith("nothing can run: this Python has no numpy, onnxruntime, ")


def test_who_asks_for_help_gets_nothing_installed(checkout: Path) -> None:
    ran = run(checkout, "--minutes", 8, "--help", PATH=os.environ["PATH"])
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("The acceptance of a machine with an NVIDIA GPU: set up, check,")
    for option in ("--offline WHEELS", "--rehearse", "--minutes 8", "--parts", "--out FOLDER", "--fresh"):
        assert option in ran.stdout
    assert [each.name for each in (checkout / "scripts").iterdir()] == ["gpu"]
    assert not (checkout / ".venv").exists()


def test_a_folder_that_is_not_there_is_told(checkout: Path) -> None:
    ran = run(checkout, "--offline", "nowhere")
    assert ran.returncode == 2
    assert ran.stderr == "scripts/gpu: there is no folder 'nowhere'; expected --offline WHEELS\n"
