"""One or several backends, shared by many callers: their rows meet in batches, and no device waits while there are any.

A caller hands in its rows and waits. Lanes, threads of ours, take what waits: the oldest request, and with it others of
the same length up to the most rows that the backend wants. Lengths are never mixed, so company changes nobody's codes.
A device has one lane; a CPU may have several, each of which computes with fewer threads, and together they do more.
Streams stay on the device where their state is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.states import of_rows
from apcodec_deploy.errors import BackendError, DeviceError
from apcodec_deploy.forks import watch
from apcodec_deploy.spec import State
from apcodec_deploy.workers import Worker, join_all

ENCODE, DECODE = "encode", "decode"
_END_SECONDS = 1.0
"""How long it may take lanes to end that have nothing to do any more."""


@dataclass(slots=True, eq=False)
class _Request:
    """Rows that somebody waits for, their states, and where these are; None where any backend will do."""

    kind: str
    rows: NDArray[Any]
    states: Sequence[Carried]
    home: Backend | None
    since: float
    ready: threading.Event = field(default_factory=threading.Event)
    result: tuple[NDArray[Any], tuple[Carried, ...]] | None = None
    error: BaseException | None = None

    def mates(self, other: _Request) -> bool:
        """Whether both fit in one batch."""
        return self.kind == other.kind and self.rows.shape[1:] == other.rows.shape[1:]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A stream's state that is on a backend's device."""

    backend: Backend
    state: Carried


@dataclass(slots=True)
class LaneAccount:
    """What the lanes did, in seconds summed over them.

    Attributes:
        busy: Of computing.
        idle: Of waiting for rows, from a lane's first batch to its last.
        queued: That requests waited for a lane.
        batches: Batches computed.
        rows: Rows computed.
    """

    busy: float = 0.0
    idle: float = 0.0
    queued: float = 0.0
    batches: int = 0
    rows: int = 0


class SharedBackend:
    """A backend made of others, for many callers at a time. See ``Backend``."""

    def __init__(self, backends: Sequence[Backend], *, lanes: int = 1, batch: int | None = None) -> None:
        """Start the lanes.

        Args:
            backends: One for each device, all of one kind and precision. They are closed with this one.
            lanes: Calls at a time into each.
            batch: The most rows of a batch, where that is less than the backends want.
        """
        first = backends[0]
        self.name, self.reason, self.precision = first.name, first.reason, first.precision
        limit = min(each.batch_limit for each in backends)
        self.batch_limit = limit if batch is None else min(limit, batch)
        self.account = LaneAccount()
        self._backends, self._lanes = tuple(backends), lanes
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failed: DeviceError | None = None
        self._workers: list[Worker] = []
        self._alive: dict[Backend, int] = {}
        self._start()
        watch(self)

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        return self.push(ENCODE, audio)[0]

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.push(DECODE, codes)[0]

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        return self._ask(direction, rows, of_rows(states, len(rows)))

    def fetched(self, direction: str, state: Carried) -> State:
        if isinstance(state, _Placed):
            return state.backend.fetched(direction, state.state)
        return self._backends[0].fetched(direction, state)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        for backend in self._backends:
            backend.prepare(encode=encode, decode=decode)

    def close(self) -> None:
        """End the lanes, once they have done what waits, and close the backends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not any(self._alive.values()))
        join_all(self._workers, _END_SECONDS)
        for backend in self._backends:
            backend.close()

    def forked(self) -> None:
        """In the child there are no lanes: they are started again, and what waited there waits for nobody."""
        self._waiting, self._changed, self._workers = deque(), threading.Condition(), []
        self._alive = {}
        self._begun = False

    def _start(self) -> None:
        """Start the lanes."""
        self._begun = True
        self._alive = dict.fromkeys(self._backends, self._lanes)
        lanes = [partial(self._lane, backend) for backend in self._backends for _ in range(self._lanes)]
        self._workers = [Worker(lane, "lane") for lane in lanes]
        for worker in self._workers:
            worker.start()

    def _ask(
        self, kind: str, rows: NDArray[Any], states: Sequence[Carried]
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        """Wait for what a lane makes of rows.

        Raises:
            BackendError: This backend is closed, or what its lane raised.
        """
        homes = (state.backend for state in states if isinstance(state, _Placed) and state.backend in self._backends)
        home = next(homes, None)
        brought = [_brought(home, kind, state) for state in states]
        request = _Request(kind, rows, brought, home, time.perf_counter())
        with self._changed:
            if not self._begun and not self._closed:
                self._start()
            if self._closed or not self._somebody_takes(request):
                raise self._failed or BackendError("this backend is closed")
            self._waiting.append(request)
            self._changed.notify(1 if home is None else len(self._workers))
        request.ready.wait()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def _lane(self, backend: Backend) -> None:
        """Compute batches until there is no more to come, or the device fails."""
        ended = 0.0
        try:
            while batch := self._take(backend):
                begun = time.perf_counter()
                self._run(backend, batch)
                with self._changed:
                    account = self.account
                    account.idle += begun - ended if ended else 0.0
                    account.queued += sum(begun - each.since for each in batch)
                    account.rows += sum(len(each.rows) for each in batch)
                    account.batches += 1
                    ended = time.perf_counter()
                    account.busy += ended - begun
                for each in batch:
                    each.ready.set()
        except DeviceError as error:
            self._retire(backend, error, batch)
        finally:
            with self._changed:
                self._alive[backend] -= 1
                self._changed.notify_all()

    def _take(self, backend: Backend) -> list[_Request]:
        """The oldest request for a backend and its mates, as soon as there is one; none when this is closed and empty.

        Streams that are on another backend's device are left to its lanes.
        """

        def ours() -> list[_Request]:
            return [each for each in self._waiting if each.home in (None, backend)]

        with self._changed:
            self._changed.wait_for(lambda: self._closed or ours())
            batch: list[_Request] = []
            rows = 0
            for each in ours():
                if not batch or (rows + len(each.rows) <= self.batch_limit and batch[0].mates(each)):
                    batch.append(each)
                    rows += len(each.rows)
                    self._waiting.remove(each)
                if rows >= self.batch_limit:
                    break
            return batch

    def _run(self, backend: Backend, batch: list[_Request]) -> None:
        """Give every request of a batch its result, or its own error.

        Raises:
            DeviceError: The device does not work any more; requests without a result may run elsewhere.
        """
        kind = batch[0].kind
        rows = np.concatenate([each.rows for each in batch]) if len(batch) > 1 else batch[0].rows
        try:
            results, after = backend.push(kind, rows, [state for each in batch for state in each.states])
        except DeviceError:
            raise
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for each in batch:  # one by one, so that only those fail that would fail alone
                self._run(backend, [each])
            return
        start = 0
        for each in batch:
            own = slice(start, start + len(each.rows))
            each.result = results[own], tuple(_placed(backend, state) for state in after[own])
            start += len(each.rows)

    def _retire(self, backend: Backend, error: DeviceError, batch: list[_Request]) -> None:
        """Leave a lane's requests to the others. The last lane's failure is that of everybody who waits; the last one
        of a device, that of everybody whose streams are there."""
        with self._changed:
            open_ = [each for each in batch if each.result is None and each.error is None]
            for each in batch:
                if each not in open_:
                    each.ready.set()
            self._waiting.extendleft(reversed(open_))
            self._failed = error
            for each in tuple(self._waiting):
                if not self._somebody_takes(each, without=backend):
                    each.error = error
                    each.ready.set()
                    self._waiting.remove(each)

    def _somebody_takes(self, request: _Request, *, without: Backend | None = None) -> bool:
        """Whether a lane is left for a request when one of a backend's is gone."""
        left = {backend: lanes - (backend is without) for backend, lanes in self._alive.items()}
        return any(left.values()) if request.home is None else left.get(request.home, 0) > 0


def _placed(backend: Backend, state: Carried) -> Carried:
    """A state with its place; plain arrays have none."""
    return state if isinstance(state, tuple) else _Placed(backend, state)


def _brought(backend: Backend | None, direction: str, state: Carried) -> Carried:
    """A state as a backend takes it. One that is on another device is fetched from there."""
    if not isinstance(state, _Placed):
        return state
    return state.state if state.backend is backend else state.backend.fetched(direction, state.state)
