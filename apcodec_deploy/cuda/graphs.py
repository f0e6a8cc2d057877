"""CUDA graphs, which pycuda lacks, by the driver's own functions.

A graph holds addresses and sizes as they were when it was recorded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from apcodec_deploy.cuda.device import Stream
from apcodec_deploy.errors import DeviceError

_THREAD_LOCAL = 1
"""Forbid what would break a recording in this thread alone; other threads, PyTorch's for one, go on as they like."""


class CudaGraph:
    """A recorded graph, ready to launch."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    def launch(self, stream: Stream) -> None:
        """Queue it.

        Raises:
            DeviceError: The driver refuses.
        """
        _check(self._library, "cuGraphLaunch", self._handle, ctypes.c_void_p(stream.handle))

    def free(self) -> None:
        """Give it back."""
        if self._handle:
            self._library.cuGraphExecDestroy(self._handle)
            self._handle = ctypes.c_void_p()


def record(library: Any, stream: Stream, enqueue: Callable[[], None]) -> CudaGraph:
    """Record what ``enqueue`` queues on a stream.

    Args:
        library: The driver's library.
        stream: Where it queues; not the default stream.
        enqueue: Queues work and waits for nothing.

    Raises:
        DeviceError: Something cannot be recorded. The recording is ended and the stream is as it was.
    """
    queue, graph = ctypes.c_void_p(stream.handle), ctypes.c_void_p()
    _check(library, "cuStreamBeginCapture_v2", queue, ctypes.c_int(_THREAD_LOCAL))
    try:
        enqueue()
    except BaseException:  # Ctrl-C, too, must not leave the stream recording
        library.cuStreamEndCapture(queue, ctypes.byref(graph))  # whatever it says, the recording is over
        if graph:
            library.cuGraphDestroy(graph)
        raise
    _check(library, "cuStreamEndCapture", queue, ctypes.byref(graph))
    executable = ctypes.c_void_p()
    try:
        _check(library, "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
    finally:
        library.cuGraphDestroy(graph)
    return CudaGraph(library, executable)


def _check(library: Any, function: str, *arguments: Any) -> None:
    code = getattr(library, function)(*arguments)
    if code:
        raise DeviceError(f"{function} failed with CUDA error {code}")
