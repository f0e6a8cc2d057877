"""One or several backends, shared by many callers: their rows meet in batches, and no device waits while there are any.

A caller hands in its rows and waits. Lanes, threads of ours, take what waits: the oldest request, and with it others of
the same length up to the most rows that the backend wants. Lengths are never mixed, so company changes nobody's codes.
A device has one lane; a CPU may have several, each of which computes with fewer threads, and together they do more.
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

from apcodec_deploy.backends.base import Backend
from apcodec_deploy.errors import BackendError, DeviceError
from apcodec_deploy.forks import watch
from apcodec_deploy.spec import State
from apcodec_deploy.workers import Worker, join_all

ENCODE, DECODE = "encode", "decode"
_END_SECONDS = 1.0
"""How long it may take lanes to end that have nothing to do any more."""


@dataclass(slots=True, eq=False)
class _Request:
    """Rows that somebody waits for."""

    kind: str
    rows: NDArray[Any]
    state: State
    since: float
    ready: threading.Event = field(default_factory=threading.Event)
    result: tuple[NDArray[Any], State] | None = None
    error: BaseException | None = None

    def mates(self, other: _Request) -> bool:
        """Whether both fit in one batch."""
        same = self.kind == other.kind and self.rows.shape[1:] == other.rows.shape[1:]
        return same and len(self.state) == len(other.state)


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
        self._start()
        watch(self)

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        return self._ask(ENCODE, audio)[0]

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        return self._ask(DECODE, codes)[0]

    def push(self, direction: str, rows: NDArray[Any], state: State = ()) -> tuple[NDArray[Any], State]:
        return self._ask(direction, rows, state)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        for backend in self._backends:
            backend.prepare(encode=encode, decode=decode)

    def close(self) -> None:
        """End the lanes, once they have done what waits, and close the backends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._alive == 0)
        join_all(self._workers, _END_SECONDS)
        for backend in self._backends:
            backend.close()

    def forked(self) -> None:
        """In the child there are no lanes: they are started again, and what waited there waits for nobody."""
        self._waiting, self._changed, self._workers = deque(), threading.Condition(), []
        self._alive = 0
        self._begun = False

    def _start(self) -> None:
        """Start the lanes."""
        self._begun = True
        self._alive = self._lanes * len(self._backends)
        lanes = [partial(self._lane, backend) for backend in self._backends for _ in range(self._lanes)]
        self._workers = [Worker(lane, "lane") for lane in lanes]
        for worker in self._workers:
            worker.start()

    def _ask(self, kind: str, rows: NDArray[Any], state: State = ()) -> tuple[NDArray[Any], State]:
        """Wait for what a lane makes of rows.

        Raises:
            BackendError: This backend is closed, or what its lane raised.
        """
        request = _Request(kind, rows, state, time.perf_counter())
        with self._changed:
            if not self._begun and not self._closed:
                self._start()
            if self._closed or not self._alive:
                raise self._failed or BackendError("this backend is closed")
            self._waiting.append(request)
            self._changed.notify()
        request.ready.wait()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def _lane(self, backend: Backend) -> None:
        """Compute batches until there is no more to come, or the device fails."""
        ended = 0.0
        try:
            while batch := self._take():
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
            self._retire(error, batch)
        finally:
            with self._changed:
                self._alive -= 1
                self._changed.notify_all()

    def _take(self) -> list[_Request]:
        """The oldest request and its mates, as soon as there is one; none when this backend is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch: list[_Request] = []
            rows = 0
            for each in tuple(self._waiting):
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
        held = [(each.rows, *each.state) for each in batch]
        rows, *state = map(np.concatenate, zip(*held, strict=True)) if len(batch) > 1 else held[0]
        try:
            results, after = backend.push(batch[0].kind, rows, tuple(state))
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
            each.result = results[own], tuple(array[own] for array in after)
            start += len(each.rows)

    def _retire(self, error: DeviceError, batch: list[_Request]) -> None:
        """Leave a lane's requests to the others; the last lane's failure is that of everybody who waits."""
        with self._changed:
            open_ = [each for each in batch if each.result is None and each.error is None]
            for each in batch:
                if each not in open_:
                    each.ready.set()
            self._waiting.extendleft(reversed(open_))
            if self._alive == 1:
                self._failed = error
                for each in self._waiting:
                    each.error = error
                    each.ready.set()
                self._waiting.clear()
