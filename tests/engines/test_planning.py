"""What is to be built: the flavour that can, and the precision that is worth it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.tensorrt import TensorRTModule

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Gpu
from apcodec_deploy.engines.flavour import FLAVOURS, Flavour, TensorRT
from apcodec_deploy.errors import DeviceError, EngineError
from apcodec_engines import planning
from apcodec_engines.planning import COMPUTE_CAPABILITIES, BuildOptions, choose_flavour, gpu_at_hand, wanted_identity

L4 = Gpu(index=0, name="NVIDIA L4", compute_capability="8.9", memory=23 << 30, driver="13.0")
H200 = replace(L4, name="NVIDIA H200", compute_capability="9.0")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that these flavours are installed."""

    def set_to(*names: str) -> None:
        monkeypatch.setattr(Flavour, "installed", property(lambda flavour: flavour.name in names))

    return set_to


@pytest.mark.parametrize(
    ("names", "gpu", "chosen"),
    [
        (("tensorrt", "rtx"), L4, "tensorrt"),
        (("tensorrt", "rtx"), H200, "tensorrt"),
        (("tensorrt", "rtx"), None, "rtx"),
        (("rtx",), L4, "rtx"),
        (("rtx",), None, "rtx"),
    ],
)
def test_auto_takes_what_can_build_for_here(
    installed: Any, names: tuple[str, ...], gpu: Gpu | None, chosen: str
) -> None:
    installed(*names)
    assert choose_flavour("auto", gpu).name == chosen


@pytest.mark.parametrize(
    ("names", "gpu", "words"),
    [
        (
            (),
            L4,
            r"can build on NVIDIA L4 \(compute capability 8\.9\) is installed.*apcodec-deploy\[rtx\].*\[tensorrt\]",
        ),
        (("tensorrt",), None, r"can build without a GPU is installed \(no pycuda\)"),
        (("rtx",), H200, "can build on NVIDIA H200"),
    ],
)
def test_auto_says_what_to_install(installed: Any, names: tuple[str, ...], gpu: Gpu | None, words: str) -> None:
    installed(*names)
    with pytest.raises(EngineError, match=words):
        choose_flavour("auto", gpu, "" if gpu else "no pycuda")


def test_a_flavour_that_is_asked_for_is_taken_or_refused() -> None:
    assert choose_flavour("rtx", H200).name == "rtx"
    assert choose_flavour("tensorrt", H200).name == "tensorrt"
    with pytest.raises(EngineError, match="TensorRT tunes engines on the GPU that runs them: no driver; --flavour rtx"):
        choose_flavour("tensorrt", None, "no driver")
    with pytest.raises(EngineError, match="no TensorRT flavour is called 'trt'"):
        choose_flavour("trt", None)


def identity(bundle: Bundle, gpu: Gpu | None = None, *, flavour: str = "rtx", **options: Any) -> Any:
    module = TensorRT(FLAVOURS[flavour], TensorRTModule(Cuda(), rtx=flavour == "rtx"))
    return wanted_identity(bundle, BuildOptions(**options), module, gpu)


@pytest.mark.parametrize(("asked", "precision"), [("auto", "float16"), ("fp16", "float16"), ("float32", "float32")])
def test_precisions_go_by_either_name(demo: Bundle, asked: str, precision: str) -> None:
    assert identity(demo, precision=asked).precision == precision


def test_half_precision_that_its_export_did_not_advise_is_not_taken_unasked(demo: Bundle) -> None:
    variant = demo.manifest["variants"]["float16"]
    warned = {**variant, "judgement": {**variant["judgement"], "advised": False}}
    bundle = replace(demo, manifest={**demo.manifest, "variants": {"float16": warned}})
    assert identity(bundle).precision == "float32"
    assert identity(bundle, precision="fp16").precision == "float16"
    without = replace(demo, manifest={**demo.manifest, "variants": {}})
    assert identity(without).precision == "float32"


def test_the_target_is_the_gpu_or_generations_of_them(demo: Bundle) -> None:
    assert identity(demo, L4).target.compute_capabilities == COMPUTE_CAPABILITIES
    tuned = identity(demo, L4, flavour="tensorrt").target
    assert (tuned.gpu, tuned.compute_capabilities) == ("NVIDIA L4", ("8.9",))
    with pytest.raises(DeviceError, match="needs the GPU that will run the engines"):
        identity(demo, flavour="tensorrt")


def test_no_gpu_is_no_error_but_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(index: int) -> None:
        raise DeviceError("nothing here")

    monkeypatch.setattr(planning, "open_device", refuse)
    assert gpu_at_hand(None) == (None, "nothing here")
    with pytest.raises(DeviceError, match="nothing here"):  # one that was asked for is not done without
        gpu_at_hand(0)
