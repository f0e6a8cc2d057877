"""Memory, and the queues of work that use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gpu_simulator.cuda import Cuda

POISON = 0xFF
"""What memory holds that nobody has written: NaN as a float, -1 as a code."""


class Misuse(AssertionError):
    """What a real GPU would answer with wrong numbers or a crash."""


class Error(Exception):
    """pycuda's base of all errors."""


class MemoryError_(Error):
    """No memory is left."""


class LogicError(Error):
    """A call that CUDA refuses."""


@dataclass(eq=False)
class Allocation:
    """Device memory."""

    cuda: Cuda
    data: NDArray[np.uint8]

    def __int__(self) -> int:
        return int(self.data.ctypes.data)

    def free(self) -> None:
        self.cuda.require_context()
        self.cuda.require_idle(self)
        del self.cuda.allocations[int(self)]
        self.data[:] = POISON


@dataclass(eq=False)
class Operation:
    """Work on a stream: what it does, and the memory that it needs."""

    run: Callable[[], None]
    memory: tuple[Allocation, ...] = ()
    after: Marker | None = None
    replayable: Callable[[], bool] = lambda: True

    @property
    def ready(self) -> bool:
        return self.after is None or self.after.done


@dataclass(eq=False)
class Stream:
    """A queue whose work runs when someone waits for it, or when the schedule says so."""

    cuda: Cuda
    handle: int
    queue: list[Operation] = field(default_factory=list)
    recording: list[Operation] | None = None
    broken: bool = False

    def add(self, operation: Operation) -> None:
        self.cuda.require_context()
        if self.recording is not None:
            self.recording.append(operation)
            return
        self.queue.append(operation)
        self.cuda.maybe_advance()

    def wait_for_event(self, event: Event) -> None:
        if event.position is None:
            return  # as CUDA: an event that was never recorded is complete
        self.add(Operation(run=lambda: None, after=event.position))

    def synchronize(self) -> None:
        self.cuda.require_context()
        if self.recording is not None:
            self.broken = True
            raise LogicError("operation not permitted when stream is capturing")
        while self.queue:
            self.cuda.step(self)

    def is_done(self) -> bool:
        return not self.queue


@dataclass(eq=False)
class Marker:
    """Where in a stream an event stands."""

    stream: Stream
    done: bool = False


class Event:
    """A point in a stream's work."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.position: Marker | None = None

    def record(self, stream: Stream) -> Event:
        marker = Marker(stream)

        def reach() -> None:
            marker.done = True

        stream.add(Operation(run=reach))
        self.position = marker
        return self

    def synchronize(self) -> Event:
        self.cuda.require_context()
        while self.position is not None and not self.position.done:
            self.cuda.step(self.position.stream)
        return self
