"""The layer between our code and a CUDA package, as small as it can be.

pycuda stands behind it; anything else that can allocate, copy and wait could. All calls of a device belong inside its
``active()``, which makes the GPU's *primary* context current in the calling thread: the one that PyTorch, ONNX Runtime
and TensorRT use, so pointers mean the same to all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What a GPU is.

    Attributes:
        index: Which one, as CUDA counts them.
        name: Its kind.
        compute_capability: Like ``8.9``.
        memory: Bytes.
        driver: The newest CUDA version that its driver supports, like ``13.0``.
    """

    index: int
    name: str
    compute_capability: str
    memory: int
    driver: str


class Event(Protocol):
    """A point in a stream's work."""

    def record(self, stream: Any) -> Any:
        """Put it behind all that is queued on a stream."""

    def synchronize(self) -> Any:
        """Wait until the stream has come to it."""

    def time_since(self, earlier: Any) -> float:
        """Milliseconds from another event to it, by the GPU's clock: both timed, recorded and reached."""


class Stream(Protocol):
    """A queue of work on the GPU."""

    @property
    def handle(self) -> int:
        """As CUDA libraries take it."""

    def wait_for_event(self, event: Any) -> Any:
        """Let what is queued from now on wait for an event of another stream."""

    def synchronize(self) -> Any:
        """Wait until all that is queued is done."""


class Bytes(Protocol):
    """Bytes on the GPU: a memory, or a part of one."""

    @property
    def address(self) -> int:
        """As CUDA libraries take it."""

    @property
    def size(self) -> int:
        """How many."""


class Memory(Bytes, Protocol):
    """Bytes on the GPU that are one's own."""

    def free(self) -> None:
        """Give it back; nothing that uses it may be queued any more."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a memory, which must outlive it."""

    memory: Bytes
    start: int
    size: int

    @property
    def address(self) -> int:
        """As CUDA libraries take it."""
        return self.memory.address + self.start


class HostMemory(Protocol):
    """Bytes on the host that the GPU can reach by itself, so that copies run beside other work."""

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The memory."""

    def free(self) -> None:
        """Give it back."""


class Graph(Protocol):
    """Work that was recorded once and is replayed in one call."""

    def launch(self, stream: Stream) -> None:
        """Queue it."""

    def free(self) -> None:
        """Give it back."""


class Device(Protocol):
    """A GPU.

    Attributes:
        gpu: What it is.
    """

    gpu: Gpu

    def active(self) -> AbstractContextManager[None]:
        """Make it current in this thread. CUDA's own errors become ``DeviceError`` inside."""

    def stream(self) -> Stream:
        """A new stream, which does not wait for the default one."""

    def event(self, *, timed: bool = False) -> Event:
        """A new event, which keeps its time where that is asked for."""

    def allocate(self, size: int) -> Memory:
        """Memory on the GPU."""

    def pin(self, size: int) -> HostMemory:
        """Memory on the host for copies."""

    def upload(self, memory: Bytes, array: NDArray[Any], stream: Stream) -> None:
        """Queue a copy of a contiguous array of pinned memory to the GPU."""

    def download(self, array: NDArray[Any], memory: Bytes, stream: Stream) -> None:
        """Queue a copy from the GPU to a contiguous array of pinned memory."""

    def copy(self, target: Bytes, source: Bytes, stream: Stream) -> None:
        """Queue a copy of all of the source within the GPU; the target holds as much, and is none of it."""

    def clear(self, memory: Bytes, stream: Stream) -> None:
        """Queue that it becomes zeros."""

    def free_memory(self) -> int:
        """Bytes that nobody uses, this process or another."""

    def record(self, stream: Stream, enqueue: Callable[[], None]) -> Graph:
        """Record what ``enqueue`` queues on a stream, without running it.

        Raises:
            DeviceError: It cannot be recorded. The stream is as it was.
        """
