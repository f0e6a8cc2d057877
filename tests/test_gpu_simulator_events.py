"""Timed events of the simulated GPU: they tell what a real one tells, and fail where CUDA's fail."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.streams import LogicError, Operation, RuntimeError_, Stream, VirtualClock

from apcodec_deploy.cuda.graphs import record

UNTIMED = Cuda.event_flags.DISABLE_TIMING


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def cuda(clock: VirtualClock) -> Iterator[Cuda]:
    made = Cuda(clock=clock)
    with made.current():
        yield made


def work(stream: Stream, seconds: float) -> None:
    """Queue work that takes so long."""
    stream.add(Operation(run=lambda: stream.cuda.clock.sleep(seconds)))


def test_time_is_what_the_work_between_two_events_really_took() -> None:
    cuda = Cuda()
    with cuda.current():
        stream, start, end = cuda.Stream(1), cuda.Event(), cuda.Event()
        start.record(stream)
        work(stream, 0.03)
        end.record(stream)
        time.sleep(0.05)  # which a GPU would have used; this one begins when somebody waits
        begun = time.perf_counter()
        end.synchronize()
        waited = 1000 * (time.perf_counter() - begun)
        assert 30 <= end.time_since(start) <= waited
        assert start.time_since(end) == -end.time_since(start)


@pytest.mark.parametrize(("waits", "expected"), [(False, 250), (True, 3250)])
def test_time_is_that_of_what_stands_between_two_events_and_of_what_that_waits_for(
    cuda: Cuda, waits: bool, expected: float
) -> None:
    stream, other = cuda.Stream(1), cuda.Stream(1)
    start, end, done = cuda.Event(), cuda.Event(), cuda.Event(UNTIMED)
    work(other, 3)
    done.record(other)
    work(stream, 5)
    start.record(stream)
    if waits:
        stream.wait_for_event(done)
    work(stream, 0.25)
    end.record(stream)
    work(stream, 7)
    stream.synchronize()
    assert end.time_since(start) == expected


def test_a_copy_takes_the_time_that_it_was_given(clock: VirtualClock) -> None:
    cuda = Cuda(clock=clock, copy_seconds=2)
    with cuda.current():
        stream, start, end = cuda.Stream(1), cuda.Event(), cuda.Event()
        memory, host = cuda.mem_alloc(8), cuda.pagelocked_empty(8, "uint8")
        start.record(stream)
        cuda.memcpy_htod_async(int(memory), host, stream)
        cuda.memcpy_dtoh_async(host, int(memory), stream)
        end.record(stream).synchronize()
        assert end.time_since(start) == 4000


def test_an_event_that_keeps_no_time(cuda: Cuda) -> None:
    stream, timed, untimed = cuda.Stream(1), cuda.Event(), cuda.Event(UNTIMED)
    for event in (timed, untimed):
        event.record(stream).synchronize()
    for later, earlier in ((timed, untimed), (untimed, timed)):
        with pytest.raises(LogicError, match="invalid handle"):
            later.time_since(earlier)


def test_an_event_that_was_not_recorded(cuda: Cuda) -> None:
    recorded, other = cuda.Event().record(cuda.Stream(1)).synchronize(), cuda.Event()
    for later, earlier in ((recorded, other), (other, recorded)):
        with pytest.raises(LogicError, match="invalid handle"):
            later.time_since(earlier)


def test_an_event_that_was_not_reached(cuda: Cuda) -> None:
    stream = cuda.Stream(1)
    start, end = cuda.Event().record(stream).synchronize(), cuda.Event().record(stream)
    for later, earlier in ((start, end), (end, start)):
        with pytest.raises(RuntimeError_, match="not ready"):
            later.time_since(earlier)
    end.synchronize()
    assert end.time_since(start) == 0
    start.record(stream)  # anew, and so not reached any more
    with pytest.raises(RuntimeError_, match="not ready"):
        end.time_since(start)


def test_an_event_inside_a_graph_tells_no_time(cuda: Cuda) -> None:
    stream, end = cuda.Stream(1), cuda.Event()
    start = cuda.Event().record(stream)

    def enqueue() -> None:
        end.record(stream)

    graph = record(Library(cuda), stream, enqueue)
    graph.launch(stream)
    stream.synchronize()
    for ask in (end.synchronize, lambda: end.time_since(start)):
        with pytest.raises(LogicError, match="last recorded in a capturing stream"):
            ask()
    graph.free()
