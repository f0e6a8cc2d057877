"""Streams on a simulated GPU: what ONNX Runtime gives on the CPU, with states that never leave the device."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_simulator.building import simulated_set
from gpu_simulator.machine import Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BackendError, DeviceError, EngineError

Array = NDArray[Any]
UNIT = 320
LIVE = Range(1, 1, 8)
PROFILE = Profile(
    name="streaming",
    shapes=(
        Shapes(Range(1, 1, 1), LIVE),
        Shapes(Range(4, 4, 4), LIVE),
        Shapes(Range(1, 2, 4), Range(9, 16, 16)),
    ),
    cuda_graphs=True,
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("streamable_bundle", id="context 0"),
        pytest.param("remembering_bundle", id="context 6", marks=pytest.mark.slow),
    ],
)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return Bundle.open(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def stored(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> StoredSet:
    return simulated_set(bundle, tmp_path_factory.mktemp("engines"), PROFILE)


@pytest.fixture(scope="module")
def cpu(bundle: Bundle) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(bundle, threads=1)


@pytest.fixture
def machine(bundle: Bundle, stored: StoredSet) -> Iterator[Machine]:
    made = Machine(stored, bundle=bundle, schedule=3)
    yield made
    made.backend.close()
    assert not made.cuda.allocations and not made.cuda.pinned and not made.cuda.graphs


@pytest.fixture(scope="module")
def spoken(speech: Array) -> Callable[[int, int], Array]:
    """So many streams of so many tokens."""

    def cut(streams: int, tokens: int) -> Array:
        return np.stack([speech[20_000 + 4000 * row :][: tokens * UNIT] for row in range(streams)])

    return cut


def pushed(backend: Backend, direction: str, rows: Array, sizes: Sequence[int]) -> tuple[Array, tuple[Carried, ...]]:
    """Streams in pushes of so many tokens; what comes of it, and what they carry after."""
    unit = UNIT if direction == "encode" else 1
    states: tuple[Carried, ...] = ()
    results, start = [], 0
    for size in sizes:
        part = np.ascontiguousarray(rows[..., start * unit : (start + size) * unit])
        result, states = backend.push(direction, part, states)
        results.append(result)
        start += size
    assert start * unit == rows.shape[-1]
    return np.concatenate(results, axis=-1), states


@pytest.mark.parametrize("streams", [1, 3, 5])
@pytest.mark.parametrize("sizes", [[1] * 16, [2] * 8, [3, 3, 3, 3, 4], [8, 8], [1, 8, 2, 5], [16], [5, 11]], ids=str)
def test_pushes_give_what_they_give_on_the_cpu(
    machine: Machine, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array], streams: int, sizes: list[int]
) -> None:
    audio = spoken(streams, 16)
    codes, held = pushed(cpu, "encode", audio, [16])
    found, states = pushed(machine.backend, "encode", audio, sizes)
    assert found.dtype == np.int32 and np.array_equal(found, codes)
    sound, _ = pushed(cpu, "decode", codes, [16])
    heard, _ = pushed(machine.backend, "decode", codes, sizes)
    np.testing.assert_allclose(heard, sound, rtol=0, atol=1e-6)
    for state, expected in zip(states, held, strict=True):
        for array, other in zip(machine.backend.fetched("encode", state), cpu.fetched("encode", expected), strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-5)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(schedule=st.integers(0, 2**32), data=st.data())
def test_streams_in_any_company_stay_apart(
    bundle: Bundle, stored: StoredSet, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array], schedule: int, data: Any
) -> None:
    machine = Machine(stored, bundle=bundle, schedule=schedule)
    audio = spoken(6, 24)
    expected, _ = pushed(cpu, "encode", audio, [24])
    states: list[Carried] = [()] * 6
    at = [0] * 6
    for _ in range(data.draw(st.integers(2, 6))):
        company = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True))
        tokens = data.draw(st.integers(1, 4))
        rows = np.stack([audio[each, at[each] * UNIT :][: tokens * UNIT] for each in company])
        codes, after = machine.backend.push("encode", rows, [states[each] for each in company])
        for row, each in enumerate(company):
            assert np.array_equal(codes[row], expected[each, :, at[each] : at[each] + tokens])
            states[each] = after[row]
            at[each] += tokens
    machine.backend.close()


def test_states_never_cross_the_bus(machine: Machine, spoken: Callable[..., Array]) -> None:
    audio = spoken(3, 12)
    states: tuple[Carried, ...] = ()
    codes = None
    for push in range(12):
        machine.cuda.crossings.clear()
        codes, states = machine.backend.push("encode", audio[:, push * UNIT :][:, :UNIT], states)
        assert machine.cuda.crossings == [4 * UNIT * 4, 4 * codes[0].nbytes], "one copy in, one copy out"
    carried = len(machine.backend._bundle.spec.states["encode"])
    machine.cuda.moves.clear()
    machine.backend.push("encode", audio[:, :UNIT], states)
    assert len(machine.cuda.moves) == 2 * carried, "streams that stay together are one copy for each array"
    machine.backend.push("encode", audio[:, :UNIT], states[::-1])
    assert len(machine.cuda.moves) == (2 + 3 + 1) * carried


def test_every_shape_of_a_push_is_recorded_once(machine: Machine, spoken: Callable[..., Array]) -> None:
    audio = spoken(3, 8)
    for _ in range(2):
        for streams in (1, 2, 3):
            for tokens in (1, 2, 8):
                machine.backend.push("encode", audio[:streams, : tokens * UNIT])
    recorded, launched = len(machine.cuda.graphs), machine.cuda.launched
    assert recorded == 2 * 3 and launched == 2 * 3 * 3 - recorded
    machine.backend.push("encode", spoken(2, 16))
    machine.backend.push("encode", audio[:2, :UNIT])
    assert machine.cuda.launched == launched + 1 and len(machine.cuda.graphs) == recorded


def test_a_stream_goes_on_from_arrays_that_were_fetched(
    machine: Machine, bundle: Bundle, stored: StoredSet, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array]
) -> None:
    audio = spoken(2, 10)
    whole, _ = pushed(cpu, "encode", audio, [10])
    _, states = machine.backend.push("encode", audio[:, : 4 * UNIT])
    saved = [machine.backend.fetched("encode", state) for state in states]
    machine.backend.push("encode", audio[::-1, : 4 * UNIT], states)  # changes nothing that was fetched
    rest = audio[:, 4 * UNIT :]
    for backend in (machine.backend, cpu, Machine(stored, bundle=bundle).backend):
        assert np.array_equal(backend.push("encode", rest, saved)[0], whole[:, :, 4:])
        assert np.array_equal(backend.push("encode", rest[:1], saved[:1])[0], whole[:1, :, 4:])
        backend.close()


def test_a_push_that_fails_leaves_its_streams_as_they_were(
    machine: Machine, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array]
) -> None:
    audio = spoken(3, 12)
    whole, _ = pushed(cpu, "encode", audio, [12])
    codes, states = machine.backend.push("encode", audio[:, : 2 * UNIT])
    pool = machine.backend._pools["encode"]
    for failure in (0, 1):
        machine.module.faults.enqueue_after = failure
        with pytest.raises(BackendError, match="did not run"):
            # Two calls: where the second one fails, the first one's rows are given back as well.
            machine.backend.push("encode", np.concatenate([audio, audio], axis=1)[:, : 20 * UNIT], states)
        machine.module.faults.enqueue_after, machine.module.faults.enqueue = None, False
        gc.collect()
        assert pool.streams == 3
    rest, _ = machine.backend.push("encode", audio[:, 2 * UNIT :], states)
    assert np.array_equal(np.concatenate([codes, rest], axis=2), whole)


def test_rows_of_streams_that_end_are_used_again(machine: Machine, spoken: Callable[..., Array]) -> None:
    audio = spoken(6, 1)
    states: list[Carried] = [()] * 6
    generator = np.random.default_rng(5)
    for _ in range(60):
        some = generator.permutation(6)[: generator.integers(1, 7)]
        _, after = machine.backend.push("encode", audio[some], [states[each] for each in some])
        for each, state in zip(some, after, strict=True):
            states[each] = state if generator.random() < 0.7 else ()
        del after, state
    pool = machine.backend._pools["encode"]
    assert pool.streams == sum(state != () for state in states)
    assert len(pool.memory) == 1, "sixteen rows are enough for six streams and a push of all of them"
    states.clear()
    assert pool.streams == 0


def test_a_thousand_streams_fit(machine: Machine, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array]) -> None:
    audio = np.tile(spoken(5, 2), (30, 1))
    expected, _ = pushed(cpu, "encode", audio[:5], [2])
    _, states = machine.backend.push("encode", audio[:, :UNIT])
    codes, _ = machine.backend.push("encode", audio[:, UNIT:], states)
    assert np.array_equal(codes, np.tile(expected[:, :, 1:], (30, 1, 1)))


def test_threads_that_push_and_drop_at_once(
    machine: Machine, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array]
) -> None:
    audio = spoken(8, 12)
    expected, _ = pushed(cpu, "encode", audio, [12])

    def live(row: int) -> bool:
        found, _ = pushed(machine.backend, "encode", audio[row : row + 1], [1, 2, 1, 4, 3, 1])
        return np.array_equal(found, expected[row : row + 1])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(live, range(8)))
    gc.collect()
    assert machine.backend._pools["encode"].streams == 0


def test_states_that_are_none_of_ours_are_refused(
    machine: Machine, bundle: Bundle, stored: StoredSet, cpu: OnnxRuntimeBackend, spoken: Callable[..., Array]
) -> None:
    audio = spoken(1, 1)
    codes, (state,) = machine.backend.push("encode", audio)
    other = Machine(stored, bundle=bundle)
    machine.backend.push("decode", codes)
    with pytest.raises(BackendError, match="state of encode was given to decode"):
        machine.backend.push("decode", codes, [state])
    with pytest.raises(BackendError, match="state of encode was given to decode"):
        machine.backend.fetched("decode", state)
    for stranger in (other.backend, cpu):
        with pytest.raises(BackendError, match="of another backend; fetch it"):
            stranger.push("encode", audio, [state])
        with pytest.raises(BackendError, match="of another backend; fetch it"):
            stranger.fetched("encode", state)
    with pytest.raises(BackendError, match="another model, or of the other direction"):
        machine.backend.push("encode", audio, [cpu.fetched("decode", ())])
    with pytest.raises(BackendError, match="2 states for 1 rows"):
        machine.backend.push("encode", audio, [state, state])
    with pytest.raises(BackendError, match="a push of 319 samples; whole tokens of 320"):
        machine.backend.push("encode", audio[:, 1:], [state])
    machine.backend.push("encode", audio, [state])
    other.backend.close()


def test_a_closed_backend_says_what_became_of_its_streams(machine: Machine, spoken: Callable[..., Array]) -> None:
    audio = spoken(1, 1)
    _, (state,) = machine.backend.push("encode", audio)
    saved = machine.backend.fetched("encode", state)
    machine.backend.close()
    for _ in range(2):
        with pytest.raises(BackendError, match="was closed; start the stream anew, or from a state that was fetched"):
            machine.backend.push("encode", audio, [state])
        with pytest.raises(BackendError, match="was closed"):
            machine.backend.fetched("encode", state)
        machine.backend.push("encode", audio, [saved])
    del state
    gc.collect()
    machine.backend.push("encode", audio)


def test_a_full_card_takes_no_more_streams_and_keeps_those_it_has(
    bundle: Bundle, stored: StoredSet, spoken: Callable[..., Array]
) -> None:
    machine = Machine(stored, bundle=bundle)
    audio = spoken(1, 2)
    expected, (state,) = machine.backend.push("encode", audio[:, :UNIT])
    machine.cuda._memory = sum(len(each.data) for each in machine.cuda.allocations.values())
    with pytest.raises(DeviceError, match="no memory left"):
        machine.backend.push("encode", np.tile(audio, (40, 1)))
    found, _ = machine.backend.push("encode", audio[:, UNIT:], [state])
    assert found.shape == expected.shape
    machine.backend.close()


def test_engines_without_short_pushes_say_so(bundle: Bundle, tmp_path: Path, spoken: Callable[..., Array]) -> None:
    profile = Profile(name="files", shapes=(Shapes(Range(1, 1, 2), Range(4, 8, 8)),))
    machine = Machine(simulated_set(bundle, tmp_path, profile), bundle=bundle)
    audio = spoken(1, 13)
    assert machine.backend.encode(audio[:, : 12 * UNIT]).shape[2] == 12
    for tokens in (1, 9):
        with pytest.raises(EngineError, match=r"a push of 1 tokens; .*take 4 to 8.*--profile streaming"):
            machine.backend.push("encode", audio[:, : tokens * UNIT])
    machine.backend.close()
