"""The part of ``pycuda.driver`` that this project uses."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_simulator.streams import (
    POISON,
    Allocation,
    Clock,
    Error,
    Event,
    LogicError,
    MemoryError_,
    Misuse,
    Operation,
    RuntimeError_,
    Stream,
)


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
    RuntimeError = RuntimeError_
    event_flags = SimpleNamespace(DEFAULT=0, DISABLE_TIMING=2)

    def __init__(
        self,
        *,
        name: str = "Simulated GPU",
        compute_capability: tuple[int, int] = (8, 9),
        memory: int = 1 << 32,
        schedule: int | None = None,
        clock: Clock = time,
        copy_seconds: float = 0,
    ) -> None:
        """A machine.

        Args:
            name: Of its GPU.
            compute_capability: Likewise.
            memory: Bytes that can be allocated.
            schedule: A seed for when queued work runs; as late as possible where None.
            clock: What events read and work spends: real time, or a virtual one.
            copy_seconds: What a copy takes besides.
        """
        self._name, self._capability, self._memory = name, compute_capability, memory
        self._random = None if schedule is None else random.Random(schedule)
        self.clock, self._copy_seconds = clock, copy_seconds
        self._local = threading.local()
        self._lock = threading.RLock()
        self.allocations: dict[int, Allocation] = {}
        self.pinned: list[_Pinned] = []
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Operation]] = {}
        self.allocated = 0  # how often, ever
        self.launched = 0
        self.crossings: list[int] = []  # bytes of each copy over the bus
        self.moves: list[int] = []  # bytes of each copy within the device
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
        return Event(self, timed=not flags & self.event_flags.DISABLE_TIMING)

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
        held, target = self._part(dest, src.nbytes)
        source = self._pinned_bytes(src)
        self.crossings.append(src.nbytes)

        def run() -> None:
            self.clock.sleep(self._copy_seconds)
            target[:] = source

        stream.add(Operation(run=run, memory=(held,)))

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: int, stream: Stream) -> None:
        held, source = self._part(src, dest.nbytes)
        target = self._pinned_bytes(dest)
        self.crossings.append(dest.nbytes)

        def run() -> None:
            self.clock.sleep(self._copy_seconds)
            target[:] = source

        stream.add(Operation(run=run, memory=(held,)))

    def memcpy_dtod_async(self, dest: int, src: int, size: int, stream: Stream) -> None:
        (to, target), (of, source) = self._part(dest, size), self._part(src, size)
        if np.shares_memory(target, source):
            raise Misuse("a copy onto itself")
        self.moves.append(size)

        def run() -> None:
            target[:] = source

        stream.add(Operation(run=run, memory=(to, of)))

    def memset_d8_async(self, dest: int, data: int, size: int, stream: Stream) -> None:
        held, target = self._part(dest, size)

        def run() -> None:
            target[:] = data

        stream.add(Operation(run=run, memory=(held,)))

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

    def _part(self, address: int, size: int) -> tuple[Allocation, NDArray[np.uint8]]:
        """Bytes from an address on, which may be inside of a memory, and the memory."""
        for first, held in self.allocations.items():
            if first <= address < first + len(held.data):
                part = held.data[address - first :]
                if len(part) < size:
                    raise Misuse(f"a buffer of {len(part)} bytes is too short for {size}")
                return held, part[:size]
        raise Misuse(f"address {address} is no memory of the device, or was freed")

    def _pinned_bytes(self, array: NDArray[Any]) -> NDArray[np.uint8]:
        if not array.flags.c_contiguous:
            raise Misuse("a copy of an array that is not contiguous")
        start = array.ctypes.data
        for held in self.pinned:
            first = held.array.ctypes.data
            if first <= start and start + array.nbytes <= first + held.array.nbytes:
                return held.array[start - first : start - first + array.nbytes]
        raise Misuse("an asynchronous copy of memory that is not pinned, or was freed")
