"""The GPU's own time for the engines: theirs alone, of calls as they are in earnest, and without a trace after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gpu_simulator.machine import Machine, agree
from gpu_simulator.streams import VirtualClock
from gpu_simulator.tensorrt import Context
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BackendError, DeviceError, EngineError

FULL = 20 * 320 - 1
FIXED = Profile(name="fixed", shapes=(Shapes(Range(3, 3, 3), Range(20, 20, 20)),))
GRAPHS = Profile(name="graphs", shapes=(Shapes(Range(1, 1, 2), Range(1, 20, 20)),), cuda_graphs=True)
ENGINE_SECONDS = 0.25


def slow(stored: StoredSet, **options: Any) -> Machine:
    """A machine on which nothing takes time but each call of an engine, and a copy very much."""
    machine = Machine(stored, clock=VirtualClock(), copy_seconds=100, **options)
    machine.module.faults.seconds = ENGINE_SECONDS
    return machine


def queued(machine: Machine) -> int:
    return sum(len(stream.queue) for stream in machine.cuda.streams.values())


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "engines"), [(False, 1), (True, 3)], ids=["joined", "parts"])
def test_the_time_is_that_of_the_engines_without_the_copies(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], parts: bool, engines: int
) -> None:
    machine = slow(sets(parts=parts))
    codes = machine.backend.encode(rows(3))
    for _ in range(2):
        for direction, given_rows in (("encode", rows(3)), ("decode", codes), ("encode", rows(1, 1000))):
            assert machine.backend.device_seconds(direction, given_rows) == engines * ENGINE_SECONDS


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.integers(0, 2**32))
def test_no_order_in_which_a_gpu_may_work_changes_the_time_or_later_results(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    schedule: int,
) -> None:
    machine = slow(sets(GRAPHS), schedule=schedule)
    assert machine.backend.device_seconds("encode", rows(1)) == ENGINE_SECONDS
    agree(machine, rows(3), reference)
    assert machine.backend.device_seconds("encode", rows(2, 1000)) == ENGINE_SECONDS
    agree(machine, rows(1), reference)


@pytest.mark.slow
def test_clips_after_a_timing_get_what_they_get_alone(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(FIXED))
    clips = rows(8)  # other clips each time, or what the timing left behind would do
    for start, count in ((0, 1), (1, 3), (4, 2)):
        assert machine.backend.device_seconds("encode", clips[start : start + count]) > 0
        agree(machine, clips[start + 1 : start + 3], reference)


def test_what_is_timed_is_the_recording(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = slow(sets(GRAPHS))
    machine.backend.device_seconds("encode", rows(1))
    assert machine.cuda.launched == 2  # one ahead, and the one between the events
    machine.module.faults.enqueue = True  # from now on a plain call would fail
    assert machine.backend.device_seconds("encode", rows(1)) == ENGINE_SECONDS
    machine.backend.encode(rows(1))  # which replays the same recording
    assert machine.cuda.launched == 6
    assert len(machine.cuda.graphs) == 1


def test_what_calls_do_not_record_is_timed_unrecorded(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], caplog: pytest.LogCaptureFixture
) -> None:
    unusual, refusing = slow(sets(GRAPHS)), slow(sets(GRAPHS), refuse="cuStreamBeginCapture_v2")
    assert unusual.backend.device_seconds("encode", rows(2)) == ENGINE_SECONDS
    assert refusing.backend.device_seconds("encode", rows(1)) == ENGINE_SECONDS
    assert unusual.cuda.launched == refusing.cuda.launched == 0
    assert "CUDA graphs are off" in caplog.text


def test_the_gpu_has_work_until_all_that_is_timed_is_queued(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, depths = slow(sets()), []
    plain = Context.execute_async_v3

    def observed(context: Context, stream: int) -> bool:
        depths.append(queued(machine))
        return plain(context, stream)

    monkeypatch.setattr(Context, "execute_async_v3", observed)
    machine.backend.device_seconds("encode", rows(3))
    assert depths[-1] == 2  # the call ahead and the first event


@pytest.mark.parametrize("count", [0, 4, 7])
def test_more_clips_than_one_call_takes_are_refused(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], count: int
) -> None:
    machine = Machine(sets())
    clips = rows(7)[:count]
    with pytest.raises(EngineError, match=rf"{count} rows; the engines of profile small take 1 to 3 .*throughput"):
        machine.backend.device_seconds("encode", clips)
    assert queued(machine) == 0


def test_a_clip_that_no_profile_takes_is_refused(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    with pytest.raises(EngineError, match=r"41 latents; .* take 20 to 20, 1 to 40"):
        Machine(sets()).backend.device_seconds("encode", rows(1, 41 * 320 - 1))


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_an_error_leaves_nothing_queued_and_nothing_wrong(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    calls: int,
) -> None:
    machine = Machine(sets())
    machine.module.faults.enqueue_after = calls
    with pytest.raises(BackendError, match="did not run"):
        machine.backend.device_seconds("encode", rows(3))
    assert queued(machine) == 0
    machine.module.faults.enqueue, machine.module.faults.enqueue_after = False, None
    agree(machine, rows(4), reference)
    assert machine.backend.device_seconds("encode", rows(3)) > 0
    machine.backend.close()
    assert machine.cuda.allocations == {}


def test_a_recording_that_does_not_start_is_an_error_and_leaves_nothing_queued(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets(GRAPHS), refuse="cuGraphLaunch")
    with pytest.raises(DeviceError, match="cuGraphLaunch failed"):
        machine.backend.device_seconds("encode", rows(1))
    assert queued(machine) == 0
    machine.backend.close()
    assert machine.cuda.graphs == {}


def test_nothing_is_allocated_for_it(sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]) -> None:
    machine = Machine(sets())
    codes = machine.backend.encode(rows(1))
    machine.backend.decode(codes)
    before = machine.cuda.allocated
    machine.backend.device_seconds("encode", rows(3))
    machine.backend.device_seconds("decode", codes)
    assert machine.cuda.allocated == before
