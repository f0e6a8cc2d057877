"""What doctor says of GPUs: each thing that may be missing or broken, in one line with its remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpu_simulator.building import simulated_set
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.tensorrt import TensorRTModule

from apcodec_deploy.backends import onnxruntime_cuda as ort
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import doctor_gpu
from apcodec_deploy.cli.doctor_gpu import examine_gpu
from apcodec_deploy.cli.finding import Finding, State
from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.engines.flavour import FLAVOURS, Flavour, TensorRT
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import sets_of
from apcodec_deploy.errors import BackendError, DeviceError, EngineError, MissingDependencyError

PROFILE = Profile(name="tiny", shapes=(Shapes(Range(1, 1, 1), Range(1, 5, 5)),))


class Machine:
    """A machine on which everything works, until a test says otherwise."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        cuda = Cuda(memory=24 << 30)
        self.device = PycudaDevice(cuda, Library(cuda), 0)
        self.module: Any = TensorRTModule(cuda)
        self.versions = {"pycuda": "2026.1", "onnxruntime-gpu": "1.31.1"}
        patch.setattr(doctor_gpu, "driver_version", lambda: "13.0")
        patch.setattr(doctor_gpu, "open_device", lambda: self.device)
        patch.setattr(doctor_gpu, "version_of", lambda name: self.versions.get(name))
        patch.setattr(Flavour, "installed", property(lambda flavour: True))
        patch.setattr(Flavour, "load", lambda flavour: TensorRT(flavour, self.module))
        patch.setattr(doctor_gpu, "trouble_of", lambda flavour: None)
        patch.setattr(ort, "open_cuda", lambda bundle, index: OnnxRuntimeBackend(bundle))

    def fails(self, holder: Any, name: str, error: Exception) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        self.patch.setattr(holder, name, fail)

    def findings(self) -> dict[str, Finding]:
        return {finding.subject: finding for finding in examine_gpu(Bundle.embedded())}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("APCODEC_ENGINE_CACHE", str(tmp_path))
    return Machine(monkeypatch)


def test_a_machine_on_which_everything_works(machine: Machine) -> None:
    simulated_set(Bundle.embedded(), sets_of(Bundle.embedded()) / "set", PROFILE, precision="float16")
    found = machine.findings()
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["gpu"].detail == "Simulated GPU, compute capability 8.9, 24.0 GiB, driver for CUDA 13.0"
    assert found["driver"].detail == "for CUDA 13.0"
    assert found["tensorrt"].detail == "TensorRT 11.4.0.106"
    assert found["engines"].detail == "set: tiny, float16"


def test_nothing_of_a_gpu_is_essential(machine: Machine) -> None:
    machine.fails(doctor_gpu, "open_device", DeviceError("cuInit failed"))
    machine.fails(Flavour, "load", OSError("libnvinfer.so.11"))
    assert not any(finding.essential for finding in machine.findings().values())


def test_no_driver(machine: Machine) -> None:
    machine.fails(doctor_gpu, "driver_version", DeviceError("no NVIDIA driver is installed here"))
    found = machine.findings()
    assert found["driver"].state == "optional"
    assert "everything runs on the CPU" in found["driver"].detail
    assert "gpu" not in found
    assert found["pycuda"].state == "ok"
    assert "there is no driver to run it" in found["onnxruntime cuda"].detail


def test_a_driver_without_a_gpu(machine: Machine) -> None:
    machine.fails(doctor_gpu, "open_device", DeviceError("CUDA does not work here: no device"))
    assert machine.findings()["gpu"] == Finding(
        "gpu", State.BROKEN, "CUDA does not work here: no device; nvidia-smi should list the GPU", essential=False
    )


def test_no_pycuda(machine: Machine) -> None:
    machine.fails(doctor_gpu, "open_device", MissingDependencyError("pycuda.driver cannot be imported (why)"))
    finding = machine.findings()["pycuda"]
    assert finding.state == "optional"
    assert "cannot be imported (why)" in finding.detail


def test_pycuda_that_is_not_installed_where_there_is_no_driver(machine: Machine) -> None:
    machine.fails(doctor_gpu, "driver_version", DeviceError("no driver"))
    machine.versions.clear()
    assert "pip install 'apcodec-deploy[cuda]'" in machine.findings()["pycuda"].detail


def test_no_gpu_build_of_onnx_runtime(machine: Machine) -> None:
    del machine.versions["onnxruntime-gpu"]
    finding = machine.findings()["onnxruntime cuda"]
    assert finding.state == "optional"
    assert "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'" in finding.detail


def test_a_cuda_provider_that_does_not_load(machine: Machine) -> None:
    machine.fails(ort, "open_cuda", BackendError("CUDAExecutionProvider did not load"))
    finding = machine.findings()["onnxruntime cuda"]
    assert (finding.state, finding.detail) == ("broken", "CUDAExecutionProvider did not load")


@pytest.mark.parametrize("flavour", FLAVOURS.values())
def test_no_tensorrt(machine: Machine, monkeypatch: pytest.MonkeyPatch, flavour: Flavour) -> None:
    monkeypatch.setattr(Flavour, "installed", property(lambda each: each.name != flavour.name))
    finding = machine.findings()[flavour.name]
    assert finding.state == "optional"
    assert finding.detail == f"{flavour.title} is not installed: pip install 'apcodec-deploy[{flavour.name}]'"


def test_a_tensorrt_that_does_not_load(machine: Machine) -> None:
    machine.fails(Flavour, "load", OSError("libnvinfer.so.11: cannot open shared object file"))
    finding = machine.findings()["tensorrt"]
    assert finding.state == "broken"
    assert (
        "does not load: libnvinfer.so.11: cannot open shared object file; reinstall it: pip install" in finding.detail
    )


def test_a_tensorrt_that_is_too_old(machine: Machine) -> None:
    machine.fails(Flavour, "load", EngineError("TensorRT 8.6.1 is too old, 10.6 is needed"))
    assert machine.findings()["tensorrt"] == Finding(
        "tensorrt", State.BROKEN, "TensorRT 8.6.1 is too old, 10.6 is needed", essential=False
    )


def test_a_tensorrt_without_a_builder_for_this_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "trouble_of", lambda flavour: f"{flavour.title} has no builder resource")
    finding = machine.findings()["tensorrt"]
    assert (finding.state, finding.detail) == ("broken", "TensorRT 11.4.0.106: TensorRT has no builder resource")


def test_no_engines_and_stale_ones(machine: Machine) -> None:
    bundle = Bundle.embedded()
    assert machine.findings()["engines"].state == "optional"
    stored = simulated_set(bundle, sets_of(bundle) / "set", PROFILE)
    old = replace(stored.manifest, identity=replace(stored.manifest.identity, version="11.3"))
    (stored.path / MANIFEST).write_text(old.to_json())
    finding = machine.findings()["engines"]
    assert finding.state == "broken"
    assert "built with tensorrt 11.3, tensorrt 11.4.0.106 is here; apcodec build " in finding.detail
    (stored.path / MANIFEST).write_text(stored.manifest.to_json())
    (stored.path / stored.manifest.engines[0].file).unlink()
    assert "encode.engine cannot be read" in machine.findings()["engines"].detail
    machine.fails(doctor_gpu, "driver_version", DeviceError("no driver"))
    assert machine.findings()["engines"].state == "broken"  # which needs no GPU to be seen
    machine.fails(Flavour, "load", OSError("gone"))
    assert "TensorRT, which built them, does not load" in machine.findings()["engines"].detail
