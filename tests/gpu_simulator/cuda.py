"""The part of ``pycuda.driver`` and of the driver's library that this project uses."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


class _Pinned:
    def __init__(self, cuda: Cuda, array: NDArray[np.uint8]) -> None:
        self.cuda, self.array = cuda, array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__

    def free(self) -> None:
        self.cuda.require_context()
        self.cuda.pinned.remove(self)


class _Context:
    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda

    def push(self) -> None:
        self._cuda.contexts.append(self)

    def detach(self) -> None:
        if self not in self._cuda.contexts:
            raise Misuse("a context is detached where it is not current, which leaves it pushed")
        self._cuda.contexts.remove(self)
        self._cuda.detached = True


class Cuda:
    """A simulated machine with one GPU, in the place of the module ``pycuda.driver``."""

    Error = Error
    MemoryError = MemoryError_
    LogicError = LogicError
    event_flags = SimpleNamespace(DISABLE_TIMING=2)

    def __init__(
        self,
        *,
        name: str = "Simulated GPU",
        compute_capability: tuple[int, int] = (8, 9),
        memory: int = 1 << 32,
        schedule: int | None = None,
    ) -> None:
        """A machine.

        Args:
            name: Of its GPU.
            compute_capability: Likewise.
            memory: Bytes that can be allocated.
            schedule: A seed for when queued work runs; as late as possible where None.
        """
        self._name, self._capability, self._memory = name, compute_capability, memory
        self._random = None if schedule is None else random.Random(schedule)
        self._local = threading.local()
        self._lock = threading.RLock()
        self.allocations: dict[int, Allocation] = {}
        self.pinned: list[_Pinned] = []
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Operation]] = {}
        self.allocated = 0  # how often, ever
        self.launched = 0
        self.detached = False
        machine = self

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            @staticmethod
            def count() -> int:
                return 1

            def name(self) -> str:
                return machine._name

            def compute_capability(self) -> tuple[int, int]:
                return machine._capability

            def total_memory(self) -> int:
                return machine._memory

            def retain_primary_context(self) -> _Context:
                return _Context(machine)

        class Context:
            @staticmethod
            def pop() -> None:
                machine.contexts.pop()

        self.Device, self.Context = Device, Context

    # pycuda.driver

    def init(self) -> None:
        """As in pycuda."""

    def get_driver_version(self) -> int:
        return 13_000

    def Stream(self, flags: int = 0) -> Stream:
        self.require_context()
        if flags != 1:
            raise Misuse("a stream that waits for the default one")
        stream = Stream(self, 1000 + len(self.streams))
        self.streams[stream.handle] = stream
        return stream

    def Event(self, flags: int = 0) -> Event:
        self.require_context()
        return Event(self)

    def mem_alloc(self, size: int) -> Allocation:
        self.require_context()
        if sum(len(held.data) for held in self.allocations.values()) + size > self._memory:
            raise MemoryError_("cuMemAlloc failed: out of memory")
        allocation = Allocation(self, np.full(size, POISON, np.uint8))
        self.allocations[int(allocation)] = allocation
        self.allocated += 1
        return allocation

    def mem_get_info(self) -> tuple[int, int]:
        self.require_context()
        return self._memory - sum(len(held.data) for held in self.allocations.values()), self._memory

    def pagelocked_empty(self, shape: int, dtype: Any) -> NDArray[Any]:
        self.require_context()
        held = _Pinned(self, np.full(shape, POISON, np.uint8))
        self.pinned.append(held)
        self.allocated += 1
        if np.dtype(dtype) != np.uint8:
            raise Misuse("memory of another type than bytes")
        return np.asarray(held)

    def memcpy_htod_async(self, dest: int, src: NDArray[Any], stream: Stream) -> None:
        target, source = self.at(dest, src.nbytes), self._pinned_bytes(src)

        def run() -> None:
            target.data[: source.nbytes] = source

        stream.add(Operation(run=run, memory=(target,)))

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: int, stream: Stream) -> None:
        source, target = self.at(src, dest.nbytes), self._pinned_bytes(dest)

        def run() -> None:
            target[:] = source.data[: target.nbytes]

        stream.add(Operation(run=run, memory=(source,)))

    # What checks and schedules

    @property
    def contexts(self) -> list[_Context]:
        """The stack of the calling thread."""
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[_Context] = self._local.stack
        return stack

    def require_context(self) -> None:
        if not self.contexts:
            raise LogicError("invalid device context")

    def at(self, address: int, size: int) -> Allocation:
        """The memory at an address, of at least ``size`` bytes."""
        held = self.allocations.get(address)
        if held is None:
            raise Misuse(f"address {address} is no memory of the device, or was freed")
        if len(held.data) < size:
            raise Misuse(f"a buffer of {len(held.data)} bytes is too short for {size}")
        return held

    def require_idle(self, allocation: Allocation) -> None:
        for stream in self.streams.values():
            if any(allocation in operation.memory for operation in stream.queue):
                raise Misuse("memory is freed while queued work needs it")

    def step(self, stream: Stream) -> None:
        """Run the first operation of a stream, and before it whatever it waits for."""
        with self._lock:
            operation = stream.queue[0]
            while operation.after is not None and not operation.after.done:
                if not operation.after.stream.queue:
                    raise Misuse("a stream waits for an event that nothing will ever reach")
                self.step(operation.after.stream)
            stream.queue.pop(0)
            operation.run()

    def maybe_advance(self) -> None:
        """Let the GPU work in the background, as the schedule says."""
        if self._random is None:
            return
        for _ in range(self._random.randrange(4)):
            ready = [stream for stream in self.streams.values() if stream.queue and stream.queue[0].ready]
            if ready:
                self.step(self._random.choice(ready))

    @contextmanager
    def current(self) -> Iterator[None]:
        """A context for what tests do themselves."""
        self.contexts.append(_Context(self))
        try:
            yield
        finally:
            self.contexts.pop()

    def _pinned_bytes(self, array: NDArray[Any]) -> NDArray[np.uint8]:
        if not array.flags.c_contiguous:
            raise Misuse("a copy of an array that is not contiguous")
        start = array.ctypes.data
        for held in self.pinned:
            first = held.array.ctypes.data
            if first <= start and start + array.nbytes <= first + held.array.nbytes:
                return held.array[start - first : start - first + array.nbytes]
        raise Misuse("an asynchronous copy of memory that is not pinned, or was freed")


class Library:
    """The driver's own functions for graphs, in the place of ``libcuda``. Each returns an error code."""

    def __init__(self, cuda: Cuda, *, refuse: str | None = None) -> None:
        """Args:
        cuda: The machine.
        refuse: A function that fails.
        """
        self.cuda, self._refuse = cuda, refuse

    def cuStreamBeginCapture_v2(self, stream: ctypes.c_void_p, mode: ctypes.c_int) -> int:
        held = self.cuda.streams[int(stream.value or 0)]
        if self._refuse == "cuStreamBeginCapture_v2" or held.recording is not None:
            return 900
        held.recording, held.broken = [], False
        return 0

    def cuStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        held = self.cuda.streams[int(stream.value or 0)]
        recording, held.recording = held.recording, None
        if held.broken or recording is None or self._refuse == "cuStreamEndCapture":
            return 901
        graph._obj.value = self._keep(recording)
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: ctypes.c_void_p, flags: Any) -> int:
        if self._refuse == "cuGraphInstantiateWithFlags":
            return 1
        executable._obj.value = self._keep(self.cuda.graphs[int(graph.value or 0)])
        return 0

    def cuGraphLaunch(self, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        if self._refuse == "cuGraphLaunch":
            return 1
        self.cuda.launched += 1
        for operation in self.cuda.graphs[int(executable.value or 0)]:
            if not operation.replayable():
                raise Misuse("a graph is replayed that was recorded with another profile or working memory")
            for memory in operation.memory:
                self.cuda.at(int(memory), 0)  # a graph outlives nothing that it needs
            self.cuda.streams[int(stream.value or 0)].add(operation)
        return 0

    def cuGraphDestroy(self, graph: ctypes.c_void_p) -> int:
        del self.cuda.graphs[int(graph.value or 0)]
        return 0

    cuGraphExecDestroy = cuGraphDestroy

    def _keep(self, operations: list[Operation]) -> int:
        key = 1 + max(self.cuda.graphs, default=0)
        self.cuda.graphs[key] = list(operations)
        return key
