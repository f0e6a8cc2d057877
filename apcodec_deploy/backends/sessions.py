"""Sessions of ONNX Runtime on a GPU as stages of a pipeline: buffers bound once, usual shapes recorded and replayed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from apcodec_deploy.cuda.device import Memory, Stream
from apcodec_deploy.engines.manifest import Binding
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.errors import BackendError
from apcodec_deploy.ort import onnxruntime

_NEVER = "-1"
"""The number of a graph for calls that are not recorded."""


@dataclass(frozen=True, slots=True)
class GraphBindings:
    """What goes in and out of a graph of a bundle."""

    name: str
    bindings: tuple[Binding, ...]


class Session:
    """A session whose provider was given a stream of ours."""

    def __init__(self, session: Any, manifest: GraphBindings, profile: Profile, index: int, *, graphs: bool) -> None:
        """Wrap a session.

        Args:
            session: ONNX Runtime's.
            manifest: What goes in and out.
            profile: Whose usual shapes are recorded.
            index: Number of the GPU.
            graphs: Whether the session records CUDA graphs.
        """
        self.manifest = manifest
        self._session, self._profile, self._index, self._graphs = session, profile, index, graphs
        self._numbers = itertools.count(1)

    def context(self) -> SessionContext:
        """A new context, whose recordings are its own."""
        return SessionContext(self._session, self.manifest, self._profile, self._index, self._numbers, self._graphs)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


class SessionContext:
    """Shapes and addresses of one slot for one session; for one thread at a time."""

    def __init__(
        self, session: Any, engine: GraphBindings, profile: Profile, index: int, numbers: Iterator[int], graphs: bool
    ) -> None:
        self.engine = engine
        self._session, self._profile, self._index, self._graphs = session, profile, index, graphs
        self._numbers = numbers
        self._recordings: dict[tuple[int, int, int], int] = {}
        self._selected = 0
        self._axes: Mapping[str, int] = {}
        self._memory: dict[str, Memory] = {}
        self._bound: tuple[Any, Any] | None = None

    def lend(self, scratch: Memory) -> None:
        """ONNX Runtime has its own."""

    def select(self, index: int, stream: Stream) -> None:
        """Take note of the shapes that are usual."""
        self._selected, self._bound = index, None

    def reshape(self, axes: Mapping[str, int]) -> None:
        """Take note of the shapes of the next calls."""
        self._axes, self._bound = axes, None

    def bind(self, name: str, memory: Memory) -> None:
        """Say where an input is, or where an output goes."""
        self._memory[name], self._bound = memory, None

    def enqueue(self, stream: Stream) -> None:
        """Queue one call on the stream that the session was given; the first one of a usual shape is recorded.

        Raises:
            BackendError: ONNX Runtime refuses, or has no memory left.
        """
        try:
            if self._bound is None:
                self._bound = self._binding(), self._options()
            self._session.run_with_iobinding(*self._bound)
        except Exception as error:  # ONNX Runtime raises its own types, which share no base with ours
            shapes = ", ".join(f"{each.name} {list(each.shape(self._axes))}" for each in self.engine.bindings)
            raise BackendError(f"ONNX Runtime could not run {self.engine.name} on {shapes}: {error}") from error

    def close(self) -> None:
        """Let go of the session and the addresses."""
        self._session, self._bound, self._memory = None, None, {}

    def _binding(self) -> Any:
        """Inputs and outputs at their addresses, which stay from call to call."""
        binding = self._session.io_binding()
        for each in self.engine.bindings:
            bind = binding.bind_output if each.output else binding.bind_input
            address = self._memory[each.name].address
            bind(each.name, "cuda", self._index, np.dtype(each.dtype).type, list(each.shape(self._axes)), address)
        return binding

    def _options(self) -> Any:
        """The number of the recording; and that the host does not wait for the stream, which is ours to wait for."""
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self._graphs:
            shape = self._selected, self._axes["batch"], self._axes["latents"]
            number = _NEVER
            if self._profile.recorded(*shape):
                # Addresses of a context stay, so each shape of it is one recording, which lives as long as the session.
                if shape not in self._recordings:
                    self._recordings[shape] = next(self._numbers)
                number = str(self._recordings[shape])
            options.add_run_config_entry("gpu_graph_id", number)
        return options
