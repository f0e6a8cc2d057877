"""Memory, and the queues of work that use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

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


class RuntimeError_(Error):
    """A call that comes too early, among others."""


class Clock(Protocol):
    """What the GPU's events read and its work takes; the module ``time`` is one."""

    def perf_counter(self) -> float:
        """Seconds since any moment."""

    def sleep(self, seconds: float, /) -> None:
        """Let some pass."""


class VirtualClock:
    """Time that only work takes which says how long it takes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


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
    captured: bool
    done: bool = False
    reached_at: float = 0.0


class Event:
    """A point in a stream's work, and the time when it came to it."""

    def __init__(self, cuda: Cuda, *, timed: bool) -> None:
        self.cuda, self.timed = cuda, timed
        self.position: Marker | None = None

    def record(self, stream: Stream) -> Event:
        marker = Marker(stream, captured=stream.recording is not None)

        def reach() -> None:
            marker.done, marker.reached_at = True, self.cuda.clock.perf_counter()

        stream.add(Operation(run=reach))
        self.position = marker
        return self

    def time_since(self, earlier: Event) -> float:
        """Milliseconds, as a float32; whatever else the GPU did meanwhile is in it."""
        self.cuda.require_context()
        reached = []
        for event in (earlier, self):
            if not event.timed or event.position is None:
                raise LogicError("cuEventElapsedTime failed: invalid handle")
            event.require_not_captured()
            reached.append(event.position)
        if not all(marker.done for marker in reached):
            raise RuntimeError_("cuEventElapsedTime failed: not ready")
        return float(np.float32(1000 * (reached[1].reached_at - reached[0].reached_at)))

    def require_not_captured(self) -> None:
        """A replay does not tell when it came to an event that was recorded into its graph."""
        if self.position is not None and self.position.captured:
            raise LogicError("operation not permitted on an event last recorded in a capturing stream")

    def synchronize(self) -> Event:
        self.cuda.require_context()
        self.require_not_captured()
        while self.position is not None and not self.position.done:
            self.cuda.step(self.position.stream)
        return self
