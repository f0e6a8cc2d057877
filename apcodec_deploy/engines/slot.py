"""What one chunk of rows needs on a GPU: memory on both sides of the bus, contexts, and their recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Event, Graph, HostMemory, Memory, Stream
from apcodec_deploy.engines.manifest import Binding

Axes = Mapping[str, int]
Key = tuple[int, int, int]
"""What the shapes of a call follow from: the optimisation profile, the rows and their samples."""


class HasBindings(Protocol):
    """What a stage is, as far as a pipeline must know: an engine's manifest, for one."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its inputs, then its outputs."""


class StageContext(Protocol):
    """A stage with shapes and addresses of its own; for one thread at a time."""

    @property
    def engine(self) -> HasBindings:
        """Of which stage it is."""

    def lend(self, scratch: Memory) -> None:
        """Give it working memory, which nothing else may use at the same time."""

    def select(self, index: int, stream: Stream) -> None:
        """Switch to an optimisation profile."""

    def reshape(self, axes: Axes) -> None:
        """Set the shapes of its inputs, within the selected profile."""

    def bind(self, name: str, memory: Memory) -> None:
        """Say where an input is, or where an output goes."""

    def enqueue(self, stream: Stream) -> None:
        """Queue one call."""

    def close(self) -> None:
        """Let go of it; nothing of it may be queued any more."""


class Stage(Protocol):
    """What runs one step of a direction, or all of it: an engine of TensorRT, a session of ONNX Runtime."""

    @property
    def manifest(self) -> HasBindings:
        """What goes in and out."""

    def context(self) -> StageContext:
        """A new context."""

    def close(self) -> None:
        """Let go of it; its contexts must be gone."""


@dataclass(slots=True)
class Side:
    """The input or the output of a slot, on both sides of the bus."""

    binding: Binding
    host: HostMemory
    memory: Memory
    copied: Event

    def rows(self, axes: Axes) -> NDArray[Any]:
        """The host's memory as an array of the binding's type."""
        shape, dtype = self.binding.shape(axes), np.dtype(self.binding.dtype)
        return self.host.bytes[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)


@dataclass(slots=True)
class Setting:
    """Contexts of all engines, set to one shape, and their recording, which holds them as they were."""

    contexts: list[StageContext]
    key: Key | None = None
    graph: Graph | None = None

    def void(self) -> None:
        """Forget the shapes, and with them the recording; nothing of it may be queued."""
        self.key = None
        graph, self.graph = self.graph, None
        if graph:
            graph.free()


@dataclass(slots=True)
class Slot:
    """What one chunk needs from its copy in to its copy out.

    Its engines have contexts of its own, in as many settings as there are shapes that come again: what a setting is set
    to then stays from call to call. One that was not used for longest is given up for a new shape.
    """

    input: Side
    output: Side
    computed: Event
    settings: list[Setting]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are computed together, in one slot.

    Attributes:
        slot: Where they are.
        start: The first one's place among all rows.
        count: How many they are.
        sizes: The axes of what is computed, which can be more rows than that.
    """

    slot: Slot
    start: int
    count: int
    sizes: Axes

    def collect(self, results: NDArray[Any]) -> None:
        """Wait for the rows and keep them."""
        self.slot.output.copied.synchronize()
        results[self.start : self.start + self.count] = self.slot.output.rows(self.sizes)[: self.count]


def bytes_of(binding: Binding, largest: Sequence[Axes]) -> int:
    """What the largest of several shapes takes."""
    return max(int(np.prod(binding.shape(sizes))) for sizes in largest) * np.dtype(binding.dtype).itemsize
