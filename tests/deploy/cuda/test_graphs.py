"""CUDA graphs by the driver's functions: recorded, replayed, and cleaned up after where that fails."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library

from apcodec_deploy.cuda.graphs import record
from apcodec_deploy.errors import DeviceError


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    machine = Cuda()
    with machine.current():
        yield machine


def test_what_is_recorded_runs_when_it_is_launched_and_as_often(cuda: Cuda) -> None:
    stream, memory = cuda.Stream(1), cuda.mem_alloc(4)
    host = cuda.pagelocked_empty(4, np.uint8)
    graph = record(Library(cuda), stream, lambda: cuda.memcpy_htod_async(int(memory), host, stream))
    assert not stream.queue
    for value in (1, 2):
        host[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (memory.data == value).all()
    assert len(cuda.graphs) == 1
    graph.free()
    graph.free()
    assert cuda.graphs == {}


@pytest.mark.parametrize("refuse", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_a_driver_that_refuses_is_an_error_and_leaves_nothing(cuda: Cuda, refuse: str) -> None:
    stream, event = cuda.Stream(1), cuda.Event(2)
    with pytest.raises(DeviceError, match=f"{refuse} failed with CUDA error"):
        record(Library(cuda, refuse=refuse), stream, lambda: None)
    assert cuda.graphs == {}
    event.record(stream)
    stream.synchronize()  # the stream works as before


def test_work_that_fails_while_it_is_recorded_ends_the_recording(cuda: Cuda) -> None:
    stream = cuda.Stream(1)

    def enqueue() -> None:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        record(Library(cuda), stream, enqueue)
    assert cuda.graphs == {}
    assert stream.recording is None
    stream.synchronize()


def test_waiting_while_recording_is_an_error(cuda: Cuda) -> None:
    stream = cuda.Stream(1)
    with pytest.raises(cuda.LogicError, match="not permitted when stream is capturing"):
        record(Library(cuda), stream, stream.synchronize)
    stream.synchronize()


def test_a_launch_that_is_refused_is_an_error(cuda: Cuda) -> None:
    stream = cuda.Stream(1)
    graph = record(Library(cuda, refuse="cuGraphLaunch"), stream, lambda: None)
    with pytest.raises(DeviceError, match="cuGraphLaunch failed with CUDA error 1"):
        graph.launch(stream)
