"""The device layer: what a machine without a GPU says, and what pycuda is asked for."""

from __future__ import annotations

import atexit
import ctypes
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.streams import Misuse, VirtualClock

from apcodec_deploy.cuda import driver as library
from apcodec_deploy.cuda.device import Part
from apcodec_deploy.cuda.driver import driver_library, driver_trouble
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.cuda.pycuda_device import PycudaDevice, pycuda_device
from apcodec_deploy.errors import DeviceError, MissingDependencyError


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARIES", ("libcuda_of_another_world.so.1",))
    with pytest.raises(DeviceError, match="no NVIDIA driver is installed here"):
        driver_library()
    with pytest.raises(DeviceError, match="no NVIDIA driver is installed here"):
        open_device()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "CUDA failure 35: CUDA driver version is insufficient",
            "driver is for CUDA 12.2, too old for It; .* install one",
        ),
        ("CUDA failure 36: API call is not supported", "driver is for CUDA 12.2, too old for It"),
        ("CUDA initialization failure with error: 803", "does not fit its kernel module; restart the machine"),
        ("CUDA failure 100: no CUDA-capable device is detected", "It sees no GPU"),
    ],
)
def test_what_cuda_says_of_a_driver_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    monkeypatch.setattr(library, "driver_version", lambda: "12.2")
    assert re.search(told, driver_trouble("It", said, instead="one") or "")
    assert driver_trouble("It", "layer 35 has error 3 of 100", instead="one") is None


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's library that loads."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(name=name))
    pycuda_device.cache_clear()


@pytest.mark.usefixtures("driver")
def test_a_machine_without_pycuda_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'apcodec-deploy\[cuda\]'"):
        open_device()


@pytest.mark.usefixtures("driver")
def test_a_device_is_opened_once_and_released_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Any] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    package: Any = ModuleType("pycuda")
    package.driver = Cuda()
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", package.driver)
    device = open_device()
    assert device is open_device(0)
    assert at_exit == [device.release]  # type: ignore[attr-defined]
    pycuda_device.cache_clear()


def opened(**options: Any) -> tuple[Cuda, PycudaDevice]:
    cuda = Cuda(**options)
    return cuda, PycudaDevice(cuda, Library(cuda), 0)


def test_a_gpu_tells_what_it_is() -> None:
    _, device = opened(name="NVIDIA L4", compute_capability=(8, 9), memory=23 << 30)
    gpu = device.gpu
    assert (gpu.index, gpu.name, gpu.compute_capability, gpu.memory) == (0, "NVIDIA L4", "8.9", 23 << 30)
    assert gpu.driver == "13.0"


def test_a_gpu_that_is_not_there_is_refused() -> None:
    cuda = Cuda()
    with pytest.raises(DeviceError, match="there is no GPU 3; this machine shows 1"):
        PycudaDevice(cuda, Library(cuda), 3)


def test_a_driver_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()

    def init() -> None:
        raise cuda.LogicError("cuInit failed: no CUDA-capable device is detected")

    monkeypatch.setattr(cuda, "init", init)
    with pytest.raises(DeviceError, match="CUDA does not work here: cuInit failed"):
        PycudaDevice(cuda, Library(cuda), 0)


def test_the_context_is_current_inside_and_gone_after_even_an_error() -> None:
    cuda, device = opened()
    with device.active():
        assert len(cuda.contexts) == 1
        with device.active():
            assert len(cuda.contexts) == 2
    with pytest.raises(ValueError, match="ours"), device.active():
        raise ValueError("ours")
    assert cuda.contexts == []


def test_the_context_is_let_go_of_where_it_is_current() -> None:
    cuda, device = opened()
    device.release()
    assert cuda.detached
    assert cuda.contexts == []


def test_cudas_errors_become_ours() -> None:
    cuda, device = opened(memory=100)
    with pytest.raises(DeviceError, match="has no memory left"), device.active():
        device.allocate(101)
    with pytest.raises(DeviceError, match="CUDA failed on Simulated GPU: odd"), device.active():
        raise cuda.LogicError("odd")


def test_bytes_go_there_and_back() -> None:
    cuda, device = opened()
    with device.active():
        stream, memory, host = device.stream(), device.allocate(16), device.pin(16)
        array = host.bytes.view(np.float32)
        array[:] = [1, 2, 3, 4]
        device.upload(memory, array, stream)
        stream.synchronize()
        array[:] = 0
        device.download(array, memory, stream)
        event = device.event()
        event.record(stream)
        event.synchronize()
        assert array.tolist() == [1, 2, 3, 4]
        assert memory.size == 16
        assert device.free_memory() == device.gpu.memory - 16
        for held in (memory, host):
            held.free()
            held.free()
    assert cuda.allocations == {}
    assert cuda.pinned == []


def test_bytes_are_copied_and_cleared_where_they_are() -> None:
    cuda, device = opened()
    with device.active():
        stream, one, other, host = device.stream(), device.allocate(16), device.allocate(16), device.pin(16)
        host.bytes[:] = range(1, 17)
        device.upload(one, host.bytes, stream)
        device.copy(other, one, stream)
        device.copy(Part(other, 2, 3), Part(Part(one, 4, 8), 1, 3), stream)
        device.clear(Part(other, 8, 4), stream)
        device.download(host.bytes, other, stream)
        stream.synchronize()
        assert host.bytes.tolist() == [1, 2, 6, 7, 8, 6, 7, 8, 0, 0, 0, 0, 13, 14, 15, 16]
        assert len(cuda.crossings) == 2
        with pytest.raises(Misuse, match="a buffer of 2 bytes is too short for 3"):
            device.copy(Part(other, 14, 3), Part(one, 0, 3), stream)
        with pytest.raises(Misuse, match="onto itself"):
            device.copy(Part(one, 1, 3), Part(one, 0, 3), stream)


def test_time_is_told_by_events_that_were_asked_for_it() -> None:
    clock = VirtualClock()
    _, device = opened(clock=clock, copy_seconds=0.5)
    with device.active():
        stream, memory, host = device.stream(), device.allocate(4), device.pin(4)
        start, end, untimed = device.event(timed=True), device.event(timed=True), device.event()
        start.record(stream)
        device.upload(memory, host.bytes, stream)
        for event in (end, untimed):
            event.record(stream)
        end.synchronize()
        untimed.synchronize()
        assert end.time_since(start) == 500
    for later, earlier in ((end, untimed), (untimed, start)):
        with pytest.raises(DeviceError, match="cuEventElapsedTime failed: invalid handle"), device.active():
            later.time_since(earlier)
