"""What ``apcodec doctor`` and ``apcodec build`` say of TensorRT's real bindings on a machine that lacks something.

The libraries behind them are stubs, which do and say what real ones were heard to do and say without a GPU: 10.6 aborts
its process, later versions give no builder. Each case is asked in a process of its own, where nothing is patched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_stubs import driver_stub, tensorrt_stubs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.uname().machine != "x86_64",
        reason="the bindings have wheels for Linux on x86-64",
    ),
]
ROOT = Path(__file__).parents[2]
NO_CUDA = "CUDA initialization failure with error: 35"
LACKING = "Unable to load library: libnvinfer_builder_resource_sm90.so.11.4.0: cannot open shared object file"
DOCTOR = """
from apcodec_deploy.cli.doctor_gpu import _driver, _flavour
from apcodec_deploy.engines.flavour import FLAVOURS

for finding in (_driver(), _flavour(FLAVOURS["tensorrt"])):
    print(f"{finding.subject}: {finding.state}: {finding.detail}")
"""
BUILD = """
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import EngineError
from apcodec_engines.building import BuildOptions, build_engines

try:
    build_engines(Bundle.embedded(), BuildOptions(flavour="tensorrt"))
except EngineError as error:
    print(error)
"""


def heard(place: Path, program: str) -> str:
    """What a program says where the bindings are called ``tensorrt`` and libraries come from a place."""
    (place / "tensorrt").mkdir(exist_ok=True)
    (place / "tensorrt" / "__init__.py").write_text(
        "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
    )
    packages = [place, ROOT, ROOT / "engines", os.environ.get("PYTHONPATH", "")]
    environment = {"LD_LIBRARY_PATH": str(place), "PYTHONPATH": os.pathsep.join(map(str, packages))}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def test_no_libraries(tmp_path: Path) -> None:
    said = heard(tmp_path, DOCTOR)
    assert "tensorrt: broken: TensorRT has Python bindings and no libraries: libnv" in said
    assert ".so.11 is not found. Install it whole: pip install 'apcodec-deploy[tensorrt]'" in said


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "refuses"])
def test_no_driver(tmp_path: Path, dies: bool) -> None:
    tensorrt_stubs(tmp_path, says=NO_CUDA, dies=dies)
    assert "TensorRT needs a GPU, and no NVIDIA driver is installed here" in heard(tmp_path, DOCTOR)


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "refuses"])
def test_a_driver_that_is_too_old(tmp_path: Path, dies: bool) -> None:
    tensorrt_stubs(tmp_path, says=NO_CUDA, dies=dies)
    driver_stub(tmp_path, 12020)
    said = heard(tmp_path, DOCTOR)
    assert "driver: ok: for CUDA 12.2" in said
    assert "the NVIDIA driver is for CUDA 12.2, too old for TensorRT; update the driver, or install a TensorRT" in said


def test_no_builder_resource_for_this_gpu(tmp_path: Path) -> None:
    tensorrt_stubs(tmp_path, says=LACKING)
    driver_stub(tmp_path, 13000)
    said = heard(tmp_path, DOCTOR)
    assert "TensorRT has no libnvinfer_builder_resource_sm90.so.11.4.0, which builds engines for this GPU" in said


def test_what_gives_no_reason_is_told_as_it_is(tmp_path: Path) -> None:
    tensorrt_stubs(tmp_path)
    assert "TensorRT makes no builder: TensorRT 11.4.0.106 did not make a builder: " in heard(tmp_path, DOCTOR)


def test_a_build_says_why_there_is_no_gpu(tmp_path: Path) -> None:
    without = "TensorRT tunes engines on the GPU that runs them: "
    assert f"{without}no NVIDIA driver is installed here" in heard(tmp_path, BUILD)
    driver_stub(tmp_path, 13000)
    assert f"{without}pycuda.driver cannot be imported" in heard(tmp_path, BUILD)
