"""The device layer on pycuda.

Only the primary context is used, never ``pycuda.autoinit`` or ``make_context``. It is retained once for each GPU and
kept as long as the process lives, as PyTorch does: pycuda's ``detach`` leaves a context pushed in a thread where it is
not current. And pycuda frees nothing in a thread where the context is not current, so whoever allocates here also frees
here, explicitly and inside ``active()``.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Bytes, Event, Gpu, Graph, HostMemory, Memory, Stream
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.cuda.graphs import record
from apcodec_deploy.errors import DeviceError, require

_NON_BLOCKING = 1
"""A stream that does not wait for the default one, on which other libraries may be working."""


@functools.cache
def pycuda_device(index: int) -> PycudaDevice:
    """The device of a number, the same one at each call.

    Raises:
        DeviceError: There is no such GPU.
        MissingDependencyError: pycuda is not installed.
    """
    device = PycudaDevice(require("pycuda.driver", extra="cuda"), driver_library(), index)
    atexit.register(device.release)
    return device


class _Allocation:
    """Memory of either side, with what frees it."""

    def __init__(self, held: Any, size: int) -> None:
        self._held: Any = held
        self.size = size

    @property
    def address(self) -> int:
        return int(self._held)

    def free(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.free()


class _Pinned:
    """Pinned memory: an array whose base frees it."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array: NDArray[np.uint8] | None = array

    @property
    def bytes(self) -> NDArray[np.uint8]:
        assert self._array is not None
        return self._array

    def free(self) -> None:
        array, self._array = self._array, None
        if array is not None and array.base is not None:
            array.base.free()  # type: ignore[attr-defined]


class PycudaDevice:
    """A GPU through pycuda."""

    def __init__(self, driver: Any, library: Any, index: int) -> None:
        """Find the GPU and hold its primary context.

        Args:
            driver: The module ``pycuda.driver``.
            library: The driver's own library, for what pycuda lacks.
            index: Which GPU.
        """
        self._driver, self._library = driver, library
        try:
            driver.init()
            count = driver.Device.count()
            if not 0 <= index < count:
                raise DeviceError(f"there is no GPU {index}; this machine shows {count} (counted from 0)")
            held = driver.Device(index)
            major, minor = held.compute_capability()
            version = driver.get_driver_version()
            self.gpu = Gpu(
                index=index,
                name=held.name(),
                compute_capability=f"{major}.{minor}",
                memory=held.total_memory(),
                driver=f"{version // 1000}.{version % 1000 // 10}",
            )
            self._context = held.retain_primary_context()
        except driver.Error as error:
            raise DeviceError(f"CUDA does not work here: {error}") from error

    @contextmanager
    def active(self) -> Iterator[None]:
        try:
            self._context.push()
            try:
                yield
            finally:
                self._driver.Context.pop()
        except self._driver.MemoryError as error:
            raise DeviceError(
                f"{self.gpu.name} has no memory left ({error}); build engines of a smaller profile, or free some"
            ) from error
        except self._driver.Error as error:
            raise DeviceError(f"CUDA failed on {self.gpu.name}: {error}") from error

    def release(self) -> None:
        """Let go of the context, once and for all. Left to itself, pycuda ends it as if it had made it, and warns."""
        self._context.push()
        self._context.detach()  # which pops it, too

    def stream(self) -> Stream:
        made: Stream = self._driver.Stream(_NON_BLOCKING)
        return made

    def event(self, *, timed: bool = False) -> Event:
        flags = self._driver.event_flags
        made: Event = self._driver.Event(flags.DEFAULT if timed else flags.DISABLE_TIMING)
        return made

    def allocate(self, size: int) -> Memory:
        return _Allocation(self._driver.mem_alloc(size), size)

    def pin(self, size: int) -> HostMemory:
        return _Pinned(self._driver.pagelocked_empty(size, np.uint8))

    def upload(self, memory: Bytes, array: NDArray[Any], stream: Stream) -> None:
        self._driver.memcpy_htod_async(memory.address, array, stream)

    def download(self, array: NDArray[Any], memory: Bytes, stream: Stream) -> None:
        self._driver.memcpy_dtoh_async(array, memory.address, stream)

    def copy(self, target: Bytes, source: Bytes, stream: Stream) -> None:
        self._driver.memcpy_dtod_async(target.address, source.address, source.size, stream)

    def clear(self, memory: Bytes, stream: Stream) -> None:
        self._driver.memset_d8_async(memory.address, 0, memory.size, stream)

    def free_memory(self) -> int:
        free, _ = self._driver.mem_get_info()
        return int(free)

    def record(self, stream: Stream, enqueue: Callable[[], None]) -> Graph:
        return record(self._library, stream, enqueue)
