"""The TensorRT backend end to end on a simulated GPU: what ONNX Runtime gives, in any order that a GPU may work in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gpu_simulator.machine import Machine, agree, one_by_one
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy import Codec
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BackendError, DeviceError, EngineError

FULL = 20 * 320 - 1
FIXED = Profile(name="fixed", shapes=(Shapes(Range(3, 3, 3), Range(20, 20, 20)),))


@pytest.mark.parametrize("parts", [False, True], ids=["joined", "parts"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_any_number_of_clips_gets_what_each_gets_alone(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    parts: bool,
    count: int,
) -> None:
    agree(Machine(sets(parts=parts)), rows(count), reference)


@pytest.mark.parametrize("samples", [161, 320, 1031, 5999, 6079, 12_345])
def test_odd_lengths_get_what_they_get_alone(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    samples: int,
) -> None:
    agree(Machine(sets()), rows(3, samples), reference)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.integers(0, 2**32), count=st.integers(1, 9))
def test_no_order_in_which_a_gpu_may_work_changes_anything(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    schedule: int,
    count: int,
) -> None:
    agree(Machine(sets(), schedule=schedule), rows(count), reference)


def test_half_precision_engines_stay_close(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(precision="float16"))
    codes, decoded = one_by_one(reference, rows(3))
    assert machine.backend.precision == "float16"
    assert (machine.backend.encode(rows(3)) == codes).mean() > 0.95
    error = np.square(machine.backend.decode(codes) - decoded).mean() / np.square(decoded).mean()
    assert 1e-9 < error < 1e-4


def test_calls_of_other_shapes_switch_profiles_and_back(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets())
    for count, samples in ((3, FULL), (1, 1000), (2, FULL), (3, 8000), (3, FULL)):
        agree(machine, rows(count, samples), reference)


def test_long_clips_of_a_codec_are_those_of_onnx_runtime(
    sets: Callable[..., StoredSet], speech: NDArray[np.float32], reference: OnnxRuntimeBackend
) -> None:
    """Windows, several clips, stereo and another rate: the whole way of a user's audio."""
    bundle = Bundle.embedded()
    simulated, plain = Codec(bundle, Machine(sets(), schedule=5).backend), Codec(bundle, reference)
    clips = [speech[:15_000], np.stack([speech[40_000:45_000], speech[60_000:65_000]]), speech[:123]]
    for ours, theirs in zip(
        simulated.encode_batch(clips, 44_100, window=0.05), plain.encode_batch(clips, 44_100, window=0.05), strict=True
    ):
        assert ours.codes.shape == theirs.codes.shape
        assert (ours.codes == theirs.codes).mean() > 0.99
        found, expected = simulated.decode(theirs), plain.decode(theirs)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_threads_take_turns_and_get_their_own(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(), schedule=1)
    clips = [rows(1 + index % 3, 2000 + 700 * index) for index in range(8)]
    expected = [one_by_one(reference, clip)[0] for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(machine.backend.encode, clips))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours == theirs).mean() > 0.99


def test_nothing_is_allocated_once_a_direction_has_run(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets(parts=True))
    machine.backend.decode(machine.backend.encode(rows(1, 1000)))
    before = machine.cuda.allocated
    for count, samples in ((7, FULL), (2, 12_000), (1, 161)):
        machine.backend.decode(machine.backend.encode(rows(count, samples)))
    assert machine.cuda.allocated == before


def test_all_engines_share_one_working_memory(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets(parts=True))
    machine.backend.decode(machine.backend.encode(rows(1)))
    sizes = [len(held.data) for held in machine.cuda.allocations.values()]
    assert sizes.count(4096) == 1


def test_closing_gives_everything_back_and_a_later_call_starts_anew(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets())
    agree(machine, rows(2), reference)
    machine.backend.close()
    assert machine.cuda.allocations == {}
    assert machine.cuda.pinned == []
    agree(machine, rows(2), reference)
    machine.backend.close()
    machine.backend.close()
    assert machine.cuda.allocations == {}


def test_no_context_is_left_in_a_thread(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    with machine.cuda.current():  # another library's, as PyTorch leaves one
        theirs = machine.cuda.contexts[-1]
        machine.backend.encode(rows(1))
        assert machine.cuda.contexts == [theirs]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_batch_below_the_least_is_filled_up_with_silence_that_is_dropped(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    count: int,
) -> None:
    machine = Machine(sets(FIXED))
    agree(machine, rows(3), reference)  # leaves other clips behind in the buffers
    agree(machine, rows(count), reference)


def test_an_error_in_the_middle_leaves_nothing_queued(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    machine.backend.encode(rows(3))
    machine.module.faults.enqueue_after = 1
    with pytest.raises(BackendError, match="did not run"):
        machine.backend.encode(rows(6))
    assert all(not stream.queue for stream in machine.cuda.streams.values())
    machine.backend.close()  # which frees memory that nothing may need any more


def test_a_clip_that_no_profile_takes_is_refused_with_what_to_do(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    with pytest.raises(EngineError, match=r"41 latents; .* take 20 to 20, 1 to 40.*--profile max-window"):
        machine.backend.encode(rows(1, 41 * 320 - 1))


def test_an_enqueue_that_fails_without_a_word_is_an_error(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets())
    machine.module.faults.enqueue = True
    with pytest.raises(BackendError, match="did not run in encode"):
        machine.backend.encode(rows(1))
    machine.module.faults.enqueue = False
    agree(machine, rows(4), reference)  # and nothing of it is left


def test_an_address_that_is_refused_is_an_error(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    machine.module.faults.address = True
    with pytest.raises(BackendError, match="did not take an address for audio in encode"):
        machine.backend.encode(rows(1))


def test_no_memory_is_said_so_and_what_was_taken_is_given_back(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets(), memory=100_000)
    with pytest.raises(DeviceError, match=r"Simulated GPU has no memory left .*smaller profile"):
        machine.backend.encode(rows(1))
    assert sum(len(held.data) for held in machine.cuda.allocations.values()) <= 4096  # the shared working memory
    assert machine.cuda.pinned == []
    machine.backend.close()
    assert machine.cuda.allocations == {}


def test_a_context_that_cannot_be_made_is_an_error(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    machine.module.faults.context = True
    with pytest.raises(EngineError, match="cannot run the engine encode"):
        machine.backend.encode(rows(1))


def test_preparing_loads_what_was_asked_for(sets: Callable[..., StoredSet]) -> None:
    machine = Machine(sets(parts=True))
    machine.backend.prepare(encode=False, decode=True)
    assert len(machine.module.engines) == 3
    machine.backend.prepare(encode=True, decode=True)
    assert len(machine.module.engines) == 6


def test_the_logger_is_told_where_python_logs(sets: Callable[..., StoredSet], caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(sets())
    with caplog.at_level(logging.WARNING):
        machine.tensorrt.logger.log(machine.module.ILogger.Severity.WARNING, "slow tactic")
        machine.tensorrt.logger.log(machine.module.ILogger.Severity.INFO, "chatter")
    assert "slow tactic" in caplog.text
    assert "chatter" not in caplog.text
