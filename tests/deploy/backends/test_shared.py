"""Lanes: rows of many callers in batches of one length, each caller's own result, and devices that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.shared import SharedBackend
from apcodec_deploy.errors import BackendError, DeviceError
from apcodec_deploy.spec import State

pytestmark = pytest.mark.usefixtures("every_cpu")


@dataclass(frozen=True)
class Handle:
    """A state that only the backend that gave it takes."""

    backend: Doubling
    pushes: int


class Doubling:
    """A backend that doubles what it gets and remembers the shapes."""

    name, reason, precision = "doubling", "for a test", "float32"

    def __init__(
        self, limit: int = 4, *, fails: type[Exception] | None = None, slow: float = 0.0, handles: bool = False
    ) -> None:
        self.batch_limit, self.fails, self.slow, self.handles = limit, fails, slow, handles
        self.shapes: list[tuple[int, ...]] = []
        self.closed = False
        self.prepared: list[tuple[bool, bool]] = []

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        time.sleep(self.slow)
        self.shapes.append(audio.shape)
        if self.fails is not None:
            raise self.fails("it failed")
        if (audio < 0).any():
            raise ValueError("negative")
        doubled: NDArray[np.int32] = (2 * audio).astype(np.int32)
        return doubled

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        self.shapes.append(codes.shape)
        halved: NDArray[np.float32] = codes.astype(np.float32) / 2
        return halved

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        results: NDArray[Any] = self.encode(rows) if direction == "encode" else self.decode(rows)
        return results, tuple(self._next(state) for state in states)

    def fetched(self, direction: str, state: Carried) -> State:
        if isinstance(state, Handle) and state.backend is self:
            return (np.array([state.pushes], np.float32),)
        raise BackendError("no state of this backend")

    def _next(self, state: Carried) -> Carried:
        """Streams of a backend with handles: how often each was pushed."""
        if not self.handles:
            return ()
        if isinstance(state, Handle):
            assert state.backend is self
            return Handle(self, state.pushes + 1)
        assert isinstance(state, tuple)
        return Handle(self, int(state[0][0]) + 1 if state else 1)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        self.prepared.append((encode, decode))

    def close(self) -> None:
        self.closed = True


def audio(value: float, length: int, rows: int = 1) -> NDArray[np.float32]:
    return np.full((rows, length), value, np.float32)


def ask_together(shared: SharedBackend, asked: list[NDArray[np.float32]]) -> list[Any]:
    """Ask from as many threads, while the only lane is held up; results or errors."""

    def ask(rows: NDArray[np.float32]) -> Any:
        try:
            return shared.encode(rows)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(asked) + 1) as pool:
        first = pool.submit(ask, audio(0, 1))
        time.sleep(0.05)
        results = [result.result() for result in [pool.submit(ask, rows) for rows in asked]]
        first.result()
    return results


def test_rows_of_one_length_meet_and_everybody_gets_their_own() -> None:
    backend = Doubling(limit=4, slow=0.2)
    shared = SharedBackend([backend])
    results = ask_together(shared, [audio(value, 5 + value % 2) for value in range(8)])
    for value, result in enumerate(results):
        np.testing.assert_array_equal(result, audio(2 * value, 5 + value % 2))
    assert sorted(backend.shapes) == [(1, 1), (4, 5), (4, 6)]
    assert (shared.account.batches, shared.account.rows) == (3, 9)
    assert shared.account.busy > 0.5 and shared.account.queued > 0.5
    shared.close()


def test_a_batch_holds_no_more_rows_than_wanted() -> None:
    backend = Doubling(limit=8, slow=0.2)
    shared = SharedBackend([backend], batch=3)
    assert shared.batch_limit == 3
    ask_together(shared, [audio(1, 5, rows=2), audio(2, 5), audio(3, 5, rows=2), audio(4, 5)])
    assert sorted(backend.shapes) == [(1, 1), (3, 5), (3, 5)]
    shared.close()


def test_only_those_fail_who_would_fail_alone() -> None:
    shared = SharedBackend([Doubling(slow=0.1)])
    results = ask_together(shared, [audio(1, 5), audio(-1, 5), audio(2, 5)])
    np.testing.assert_array_equal(results[0], audio(2, 5))
    np.testing.assert_array_equal(results[2], audio(4, 5))
    assert isinstance(results[1], ValueError)
    np.testing.assert_array_equal(shared.decode(np.full((1, 2, 3), 4, np.int32)), np.full((1, 2, 3), 2.0))
    shared.close()


def test_the_work_of_a_device_that_fails_goes_to_the_others() -> None:
    broken, sound = Doubling(fails=DeviceError, slow=0.01), Doubling(slow=0.05)
    shared = SharedBackend([broken, sound])
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(shared.encode, [audio(value, 5) for value in range(12)]))
    for value, result in enumerate(results):
        np.testing.assert_array_equal(result, audio(2 * value, 5))
    assert len(broken.shapes) == 1
    shared.close()
    assert broken.closed and sound.closed


def test_the_last_devices_failure_is_everybodys() -> None:
    shared = SharedBackend([Doubling(fails=DeviceError, slow=0.1)])
    results = ask_together(shared, [audio(1, 5), audio(2, 6)])
    assert all(isinstance(result, DeviceError) for result in results)
    with pytest.raises(DeviceError, match="it failed"):
        shared.encode(audio(1, 5))
    shared.close()


def test_closing_finishes_what_waits_and_takes_no_more() -> None:
    backend = Doubling(limit=1, slow=0.1)
    shared = SharedBackend([backend], lanes=2)
    results: list[NDArray[np.int32]] = []
    threads = [threading.Thread(target=lambda: results.append(shared.encode(audio(1, 5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    shared.close()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and backend.closed
    with pytest.raises(BackendError, match="closed"):
        shared.encode(audio(1, 5))


def test_several_lanes_work_side_by_side() -> None:
    backend = Doubling(limit=1, slow=0.2)
    shared = SharedBackend([backend], lanes=4)
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shared.encode, [audio(value, 5) for value in range(4)]))
    assert shared.account.busy > 1.5 * (time.perf_counter() - begun)
    shared.close()


def test_what_it_is_made_of_is_prepared() -> None:
    backends = [Doubling(), Doubling(limit=2)]
    shared = SharedBackend(backends)
    assert (shared.name, shared.precision, shared.batch_limit) == ("doubling", "float32", 2)
    shared.prepare(encode=True, decode=False)
    assert [each.prepared for each in backends] == [[(True, False)]] * 2
    shared.close()


def test_streams_stay_on_the_device_where_their_state_is() -> None:
    backends = [Doubling(limit=1, slow=0.03, handles=True) for _ in range(3)]
    shared = SharedBackend(backends)
    states: list[tuple[Carried, ...]] = [() for _ in range(9)]

    def go_on(index: int) -> None:
        for _ in range(4):
            states[index] = shared.push("encode", audio(index, 5), states[index])[1]

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(go_on, range(9)))
    assert sum(bool(each.shapes) for each in backends) > 1
    for (state,) in states:
        assert shared.fetched("encode", state)[0][0] == 4
    shared.close()


def test_streams_of_several_devices_meet_on_one_of_them() -> None:
    one, other = (SharedBackend([Doubling(handles=True)]) for _ in range(2))
    away, here = (shared.push("encode", audio(1, 5))[1] for shared in (one, other))
    results, after = other.push("encode", audio(3, 5, rows=3), (*away, *here, ()))
    assert results.shape == (3, 5)
    assert [other.fetched("encode", state)[0][0] for state in after] == [2, 2, 1]
    other.push("encode", audio(1, 5), away)
    with pytest.raises(BackendError, match="2 states for 1 rows"):
        other.push("encode", audio(1, 5), (*away, *here))
    for shared in (one, other):
        shared.close()


def test_streams_of_a_device_that_fails_end_and_others_go_on() -> None:
    broken, sound = Doubling(slow=0.01, handles=True), Doubling(slow=0.01, handles=True)
    shared = SharedBackend([broken, sound])
    states: list[Carried] = []
    while not (broken.shapes and sound.shapes):
        with ThreadPoolExecutor(4) as pool:
            states += [after[0] for _, after in pool.map(lambda _: shared.push("encode", audio(1, 5)), range(4))]
    broken.fails = DeviceError
    ended = 0
    for state in states:
        try:
            assert shared.push("encode", audio(1, 5), [state])[0].shape == (1, 5)
        except DeviceError:
            ended += 1
    assert 0 < ended < len(states)
    assert shared.push("encode", audio(1, 5))[0].shape == (1, 5)
    shared.close()
