"""The two TensorRT packages, told apart by what they can do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.tensorrt import TensorRTModule

from apcodec_deploy.engines.flavour import FLAVOURS, Flavour, TensorRT, flavour_named
from apcodec_deploy.errors import EngineError, MissingDependencyError


def test_flavours_have_names() -> None:
    assert flavour_named("rtx").module == "tensorrt_rtx"
    with pytest.raises(EngineError, match="no TensorRT flavour is called 'trtx'; there are: auto, tensorrt, rtx"):
        flavour_named("trtx")


@pytest.mark.parametrize(("name", "rtx"), [("tensorrt", False), ("rtx", True)])
def test_capabilities_are_those_of_the_module(name: str, rtx: bool) -> None:
    found = TensorRT(FLAVOURS[name], TensorRTModule(Cuda(), version="1.2.3", rtx=rtx))
    assert (found.ahead_of_time, found.records_graphs) == (rtx, rtx)
    assert found.title == f"{FLAVOURS[name].title} 1.2.3"


def test_there_is_one_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    module = TensorRTModule(Cuda())
    assert TensorRT(FLAVOURS["rtx"], module).logger is TensorRT(FLAVOURS["tensorrt"], module).logger


def test_errors_are_remembered() -> None:
    module = TensorRTModule(Cuda())
    logger = TensorRT(FLAVOURS["tensorrt"], module).logger
    logger.log(module.ILogger.Severity.ERROR, "the reason")
    logger.log(module.ILogger.Severity.WARNING, "something else")
    assert logger.last == "the reason"


def test_a_flavour_that_is_not_there_names_the_extra() -> None:
    absent = Flavour(name="tensorrt", title="TensorRT", module="tensorrt_of_another_world", oldest=(10, 6))
    assert not absent.installed
    with pytest.raises(MissingDependencyError, match=r"pip install 'apcodec-deploy\[tensorrt\]'"):
        absent.load()


def test_bindings_without_their_libraries_say_which_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    why = "libnvinfer.so.10: cannot open shared object file: No such file or directory"
    (tmp_path / "bare_bindings.py").write_text(f"raise ImportError({why!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bare = Flavour(name="tensorrt", title="TensorRT", module="bare_bindings", oldest=(10, 6))
    assert bare.installed
    with pytest.raises(
        MissingDependencyError, match=r"no libraries: libnvinfer\.so\.10 is not found.* LD_LIBRARY_PATH"
    ):
        bare.load()


@pytest.mark.parametrize(
    ("version", "works"), [("8.6.1", False), ("10.5.0", False), ("10.6.0.post1", True), ("11.4.0.106", True)]
)
def test_a_version_that_is_too_old_says_which_is_needed(
    monkeypatch: pytest.MonkeyPatch, version: str, works: bool
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", TensorRTModule(Cuda(), version=version))  # type: ignore[arg-type]
    if works:
        assert FLAVOURS["tensorrt"].load().version == version
        return
    with pytest.raises(EngineError, match=f"TensorRT {version} is too old, 10.6 is needed"):
        FLAVOURS["tensorrt"].load()
