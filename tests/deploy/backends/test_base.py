"""Which backend is taken, and what is said of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

import apcodec_deploy
from apcodec_deploy.backends import choice, openvino
from apcodec_deploy.backends import onnxruntime_cuda as ort
from apcodec_deploy.backends import tensorrt as trt
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ApcodecError, BackendError, DeviceError, EngineError


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "tpu"}, "no backend is called 'tpu'; there are: auto, onnxruntime, openvino, tensorrt"),
        ({"device": "gpu"}, "no device is called 'gpu'; there are: auto, cpu, cuda"),
        ({"device": "cpu:1"}, "no device is called 'cpu:1'"),
        ({"device": "cuda:"}, "no device is called 'cuda:'"),
        ({"device": "cuda:-1"}, "no device is called 'cuda:-1'"),
        ({"precision": "fp8"}, "no precision is called 'fp8'"),
        ({"device": "cpu", "precision": "fp16"}, "float16 runs on a GPU only; on the CPU there is float32"),
        (
            {"name": "openvino", "precision": "fp16"},
            "float16 runs on a GPU only; on the CPU there is float32, bfloat16, int8",
        ),
        ({"name": "tensorrt", "precision": "int8"}, "int8 runs on the CPU only; on a GPU there is float32, float16"),
        ({"device": "cuda", "precision": "bf16"}, "bfloat16 runs on the CPU only"),
        ({"device": "cuda", "name": "openvino"}, "OpenVINO runs on the CPU only"),
        ({"engines": "e", "name": "openvino"}, "--engines are TensorRT's"),
        ({"device": "cpu", "name": "tensorrt"}, "TensorRT runs on a GPU only"),
        ({"threads": 0}, "0 threads"),
        ({"device": 0}, "no device is called 0"),
        ({"engines": "e", "device": "cpu"}, "--engines are TensorRT's"),
        ({"engines": "e", "name": "onnxruntime"}, "--engines are TensorRT's"),
    ],
)
def test_options_that_make_no_sense_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ApcodecError, match=words):
        BackendOptions(**values)


def test_options_know_what_would_do() -> None:
    assert BackendOptions(device="cuda:3").index == 3
    assert not BackendOptions(device="cuda").may_be_cpu
    assert not BackendOptions(precision="float16").may_be_cpu
    assert not BackendOptions(name="tensorrt").may_be_cpu
    assert not BackendOptions(precision="int8").may_be_gpu
    assert not BackendOptions(name="openvino").may_be_gpu
    assert not BackendOptions(device="cpu").may_be_gpu
    assert BackendOptions(precision="fp32") == BackendOptions(precision="float32")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say of each way whether there is one: an error, or None for one that works."""

    def set_to(*, driver: Exception | None, tensorrt: Exception | None, cuda: Exception | None) -> None:
        def driver_library() -> None:
            if driver:
                raise driver

        def opens(label: str, failure: Exception | None) -> Any:
            def open_it(bundle: Bundle, **options: Any) -> Any:
                if failure:
                    raise failure
                return (label, options)

            return open_it

        monkeypatch.setattr(choice, "driver_library", driver_library)
        monkeypatch.setattr(trt, "open_tensorrt", opens("tensorrt", tensorrt))
        monkeypatch.setattr(ort, "open_cuda", opens("cuda", cuda))

    return set_to


NO_DRIVER, NO_ENGINES = DeviceError("no driver here"), EngineError("no engines; apcodec build")
NO_CUDA = BackendError("the CPU build is installed")


def chosen(**options: Any) -> Any:
    return create(Bundle.embedded(), BackendOptions(**options))


def test_tensorrt_is_taken_where_it_works(machine: Any) -> None:
    machine(driver=None, tensorrt=None, cuda=None)
    label, options = chosen()
    assert label == "tensorrt"
    other = options.pop("beyond")()
    assert options == {"engines": None, "precision": "auto", "device": 0, "reason": "the fastest that works here"}
    assert other[0] == "cuda"  # for lengths that the engines do not take
    assert chosen(name="tensorrt")[1]["beyond"] is None


def test_then_onnx_runtime_on_cuda_with_the_reason(machine: Any) -> None:
    machine(driver=None, tensorrt=NO_ENGINES, cuda=None)
    label, options = chosen(device="cuda:2", threads=3)
    assert label == "cuda"
    assert options["reason"] == "the fastest that works here; tensorrt does not: no engines; apcodec build"
    assert (options["index"], options["precision"], options["threads"]) == (2, "float32", 3)


def test_then_the_cpu_with_both_reasons(machine: Any) -> None:
    machine(driver=None, tensorrt=NO_ENGINES, cuda=NO_CUDA)
    backend = chosen()
    assert (backend.name, backend.precision) == ("onnxruntime", "float32")
    assert "tensorrt does not: no engines" in backend.reason
    assert "onnxruntime on CUDA does not: the CPU build is installed" in backend.reason


@pytest.fixture
def free_choice(monkeypatch: pytest.MonkeyPatch, machine: Any) -> pytest.MonkeyPatch:
    """A CPU whose backend the environment does not name."""
    machine(driver=NO_DRIVER, tensorrt=NO_DRIVER, cuda=NO_CUDA)
    monkeypatch.delenv(choice.CPU_VARIABLE)
    return monkeypatch


def test_openvino_is_taken_on_a_cpu_where_it_is_installed(free_choice: pytest.MonkeyPatch) -> None:
    backend = chosen()
    assert backend.name == "openvino" and "fastest" in backend.reason
    assert chosen(precision="int8").name == "openvino"
    free_choice.setattr(choice, "find_spec", lambda name: None)
    backend = chosen()
    assert (backend.name, backend.precision) == ("onnxruntime", "float32")
    assert backend.reason == "the default on a CPU; no driver here"


def test_float32_that_is_asked_for_is_onnx_runtimes(free_choice: pytest.MonkeyPatch) -> None:
    assert chosen(precision="float32").name == "onnxruntime"


def test_an_openvino_that_does_not_load_stops_nothing(free_choice: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise BackendError("OpenVINO does not load (no such library)")

    free_choice.setattr(openvino, "import_openvino", fails)
    backend = chosen()
    assert backend.name == "onnxruntime" and "openvino does not: OpenVINO does not load" in backend.reason


def test_the_environment_names_what_is_taken_on_a_cpu(free_choice: pytest.MonkeyPatch) -> None:
    free_choice.setenv(choice.CPU_VARIABLE, "onnxruntime")
    assert chosen().name == "onnxruntime"
    assert chosen(name="openvino").name == "openvino"  # what was asked for stands above it
    free_choice.setenv(choice.CPU_VARIABLE, "openvino")
    assert chosen(precision="float32").name == "openvino"
    free_choice.setenv(choice.CPU_VARIABLE, "fastest")
    with pytest.raises(BackendError, match="APCODEC_CPU_BACKEND is 'fastest'; onnxruntime or openvino is expected"):
        chosen()


def test_without_a_driver_nothing_of_a_gpu_is_tried(machine: Any) -> None:
    machine(driver=NO_DRIVER, tensorrt=AssertionError("tried"), cuda=AssertionError("tried"))
    assert chosen().reason == "the default on a CPU; no driver here"


def test_a_gpu_that_was_asked_for_is_not_replaced_by_the_cpu(machine: Any) -> None:
    machine(driver=NO_DRIVER, tensorrt=NO_DRIVER, cuda=NO_CUDA)
    for options in ({"device": "cuda"}, {"precision": "float16"}):
        with pytest.raises(BackendError, match="no backend works here: tensorrt does not: no driver here; onnx"):
            chosen(**options)
    with pytest.raises(DeviceError, match=r"^no driver here$"):
        chosen(name="tensorrt")
    with pytest.raises(BackendError, match=r"^the CPU build is installed$"):
        chosen(name="onnxruntime", device="cuda")


def test_named_engines_are_taken_or_nothing(machine: Any) -> None:
    machine(driver=NO_DRIVER, tensorrt=NO_DRIVER, cuda=None)
    with pytest.raises(DeviceError, match="no driver here"):
        chosen(engines="somewhere")


def test_what_was_asked_for_is_not_called_a_choice() -> None:
    with apcodec_deploy.load(backend="onnxruntime", device="cpu") as codec:
        assert codec.backend.reason == "asked for"
