"""Why a TensorRT does not work: what its versions were heard to say, turned into what is lacking and what to do."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from apcodec_deploy.cuda import driver
from apcodec_deploy.engines import trouble
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.engines.trouble import known_trouble, trouble_of
from apcodec_deploy.errors import DeviceError

ABORTED = """terminate called after throwing an instance of 'nvinfer1::APIUsageError'
  what():  CUDA initialization failure with error: 35
its process ended with code -6"""
"""10.6 without a driver."""
REFUSED = "did not make a builder: factory function returned nullptr; CUDA initialization failure with error: 35"
"""10.15 without a driver."""
LACKING = (
    "Unable to load library: libnvinfer_builder_resource_sm90.so.10.15.1: cannot open shared object file: No such file"
)


def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise DeviceError("no NVIDIA driver is installed here")

    monkeypatch.setattr(driver, "driver_library", none)


@pytest.mark.parametrize("said", [ABORTED, REFUSED])
def test_no_driver_and_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    without_driver(monkeypatch)
    assert known_trouble("TensorRT", said) == "TensorRT needs a GPU, and no NVIDIA driver is installed here"
    monkeypatch.setattr(driver, "driver_version", lambda: "12.2")
    assert "the NVIDIA driver is for CUDA 12.2, too old for TensorRT; update" in str(known_trouble("TensorRT", said))


def test_libraries_without_what_builds_for_this_gpu() -> None:
    found = str(known_trouble("TensorRT", LACKING))
    assert found.startswith("TensorRT has no libnvinfer_builder_resource_sm90.so.10.15.1, which builds engines for")
    assert "engines that are built already run without it" in found


def test_no_gpu_and_what_nobody_knows() -> None:
    assert "sees no GPU" in str(known_trouble("TensorRT", "CUDA initialization failure with error: 100"))
    assert known_trouble("TensorRT", "no tactic for layer 3505") is None


def test_a_tensorrt_that_works_has_no_trouble_whatever_it_does_at_its_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 'apcodec-trial:""\n', code=-11)
    assert trouble_of(FLAVOURS["tensorrt"]) is None


def test_a_process_that_is_aborted_and_one_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    without_driver(monkeypatch)
    answer(monkeypatch, "", ABORTED, code=-6)
    assert "needs a GPU" in str(trouble_of(FLAVOURS["tensorrt"]))
    answer(monkeypatch, 'apcodec-trial:"it is too old"\n')
    assert trouble_of(FLAVOURS["tensorrt"]) == "TensorRT makes no builder: it is too old"
    answer(monkeypatch, "", "", code=-11)
    assert trouble_of(FLAVOURS["tensorrt"]) == "TensorRT makes no builder: its process ended with code -11"


def test_one_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("python", options["timeout"])

    monkeypatch.setattr(trouble.subprocess, "run", run)
    assert "no builder within 60 s" in str(trouble_of(FLAVOURS["rtx"]))


def test_tensorrt_rtx_makes_a_builder_without_a_gpu() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has wheels for some systems only")
    assert trouble_of(FLAVOURS["rtx"]) is None


def answer(monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str = "", *, code: int = 0) -> None:
    ran = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=code)
    monkeypatch.setattr(trouble.subprocess, "run", lambda *_, **__: ran)
