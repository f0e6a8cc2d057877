"""The part of the driver's own library that this project uses: CUDA graphs."""

from __future__ import annotations

import ctypes
from typing import Any

from gpu_simulator.cuda import Cuda
from gpu_simulator.streams import Misuse, Operation


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
                raise Misuse("a graph is replayed that was recorded with other shapes, addresses or working memory")
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
