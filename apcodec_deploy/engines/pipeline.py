"""One direction of the codec on a GPU: rows go in, rows come out, and copies overlap with computing.

        copy in   | chunk 0 | chunk 1 | chunk 2 |
        compute             | chunk 0 | chunk 1 | chunk 2 |
        copy out                      | chunk 0 | chunk 1 | ...

Only audio and codes cross the bus. Two slots of input and output alternate, so a chunk is copied while another one is
computed. All computing is on one stream, so what the engines hand to each other, and their working memory, exist once.
Everything is allocated at the first call, as large as any profile may need it: the sizes follow from the lengths.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Device, Event, Graph, HostMemory, Memory, Stream
from apcodec_deploy.engines.loaded import LoadedEngine
from apcodec_deploy.engines.manifest import Binding
from apcodec_deploy.engines.profile import Profile

Axes = Mapping[str, int]
_Key = tuple[int, int, int]
"""What a recording holds: the slot, the rows and their samples."""
SLOTS = 2
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Streams:
    """The queues that all directions of a model share."""

    copy_in: Stream
    compute: Stream
    copy_out: Stream

    @classmethod
    def of(cls, device: Device) -> Streams:
        """Three new ones."""
        return cls(device.stream(), device.stream(), device.stream())

    def synchronize(self) -> None:
        """Wait until nothing is queued any more."""
        for stream in (self.copy_in, self.compute, self.copy_out):
            stream.synchronize()


@dataclass(slots=True)
class _Side:
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
class _Slot:
    """What one chunk needs from its copy in to its copy out."""

    input: _Side
    output: _Side
    computed: Event


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows that are computed together, in one slot.

    Attributes:
        number: Of the slot.
        slot: Where they are.
        start: The first one's place among all rows.
        count: How many they are.
        sizes: The axes of what is computed, which can be more rows than that.
    """

    number: int
    slot: _Slot
    start: int
    count: int
    sizes: Axes

    def collect(self, results: NDArray[Any]) -> None:
        """Wait for the rows and keep them."""
        self.slot.output.copied.synchronize()
        results[self.start : self.start + self.count] = self.slot.output.rows(self.sizes)[: self.count]


class Pipeline:
    """The engines of one direction, with all that they need; for one thread at a time, inside ``device.active()``."""

    def __init__(
        self,
        device: Device,
        streams: Streams,
        engines: Sequence[LoadedEngine],
        profile: Profile,
        axes: Callable[[int], Axes],
        longest: int,
        *,
        record: bool,
    ) -> None:
        """Allocate everything.

        Args:
            device: Where the engines are.
            streams: Where to queue.
            engines: In the order in which they run; each takes what the one before gives.
            profile: What they were built for.
            axes: The dynamic axes for a length of the rows.
            longest: The longest rows, in their own unit.
            record: Whether to record calls of the profile's usual shape as CUDA graphs.
        """
        self._device, self._streams, self._engines = device, streams, list(engines)
        self._profile, self._axes, self._records = profile, axes, record and profile.cuda_graphs
        most = {"batch": profile.max_batch, **axes(longest)}
        (first,) = (each for each in self._engines[0].manifest.bindings if not each.output)
        (last,) = (each for each in self._engines[-1].manifest.bindings if each.output)
        self._owned: list[Memory | HostMemory] = []
        self._between: dict[str, Memory] = {}
        self._slots: list[_Slot] = []
        self._graphs: dict[_Key, Graph] = {}
        self._seen: set[_Key] = set()
        try:
            for engine in self._engines:
                for binding in engine.manifest.bindings:
                    if binding.name in (first.name, last.name) or binding.name in self._between:
                        continue
                    self._between[binding.name] = self._allocate(binding, most)
            for _ in range(SLOTS):
                ahead, back = (self._side(binding, most) for binding in (first, last))
                self._slots.append(_Slot(ahead, back, device.event()))
        except BaseException:
            self.close()
            raise

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Pass rows of one length through the engines, in chunks of what the profile takes at a time.

        Raises:
            EngineError: The engines take no rows of this length.
            BackendError: TensorRT or CUDA fails. What was queued has come to its end.
        """
        axes = self._axes(rows.shape[-1])
        index = self._profile.best(len(rows), axes["latents"])
        batch = self._profile.shapes[index].batch
        output = self._slots[0].output.binding
        results = np.empty(output.shape({"batch": len(rows), **axes}), output.dtype)
        queued: list[_Chunk] = []
        try:
            for number, start in enumerate(range(0, len(rows), batch.greatest)):
                if len(queued) == SLOTS:
                    queued.pop(0).collect(results)
                count = min(batch.greatest, len(rows) - start)
                # No fewer rows than the profile takes; those beyond the clip's are silence, and dropped.
                sizes = {"batch": max(count, batch.least), **axes}
                chunk = _Chunk(number % SLOTS, self._slots[number % SLOTS], start, count, sizes)
                self._queue(chunk, rows[start : start + count], index)
                queued.append(chunk)
            for chunk in queued:
                chunk.collect(results)
        except BaseException:
            with suppress(Exception):  # what went wrong is on its way already
                self._streams.synchronize()
            raise
        return results

    def lend(self, scratch: Memory) -> None:
        """Give the engines another working memory; nothing may be queued. Recordings hold the old one."""
        self._forget_graphs()
        for engine in self._engines:
            engine.lend(scratch)

    def close(self) -> None:
        """Give everything back; nothing may be queued any more."""
        self._forget_graphs()
        for engine in self._engines:
            engine.close()
        for memory in self._owned:
            memory.free()
        self._engines, self._slots, self._between, self._owned = [], [], {}, []

    def _allocate(self, binding: Binding, sizes: Axes) -> Memory:
        memory = self._device.allocate(_bytes(binding, sizes))
        self._owned.append(memory)
        return memory

    def _side(self, binding: Binding, sizes: Axes) -> _Side:
        host = self._device.pin(_bytes(binding, sizes))
        self._owned.append(host)
        return _Side(binding, host, self._allocate(binding, sizes), self._device.event())

    def _queue(self, chunk: _Chunk, rows: NDArray[Any], index: int) -> None:
        """Queue a chunk's copy in, its computing and its copy out."""
        slot, streams = chunk.slot, self._streams
        staged = slot.input.rows(chunk.sizes)
        staged[: chunk.count] = rows
        staged[chunk.count :] = 0
        self._device.upload(slot.input.memory, staged, streams.copy_in)
        slot.input.copied.record(streams.copy_in)
        streams.compute.wait_for_event(slot.input.copied)
        self._compute(chunk, index)
        slot.computed.record(streams.compute)
        streams.copy_out.wait_for_event(slot.computed)
        self._device.download(slot.output.rows(chunk.sizes), slot.output.memory, streams.copy_out)
        slot.output.copied.record(streams.copy_out)

    def _compute(self, chunk: _Chunk, index: int) -> None:
        """Queue the engines, or replay their recording."""
        switched = [engine.select(index, self._streams.compute) for engine in self._engines]
        if any(switched):
            self._forget_graphs()  # a recording holds the profile it was made with
        key = (chunk.number, chunk.sizes["batch"], chunk.sizes["samples"])
        if key not in self._graphs and key in self._seen:
            self._record(key, chunk)
        if key in self._graphs:
            self._graphs[key].launch(self._streams.compute)
            return
        self._prepare(chunk)
        self._launch()
        batch, latents = self._profile.shapes[index]
        if self._records and (chunk.sizes["batch"], chunk.sizes["latents"]) == (batch.usual, latents.usual):
            self._seen.add(key)

    def _record(self, key: _Key, chunk: _Chunk) -> None:
        """Record the engines for a slot and shape. Where that fails, calls go one by one from now on.

        TensorRT asks for one plain call after the latest change of shapes, in which it may do what a recording must not
        hold; its result is written again by the first replay.
        """
        self._prepare(chunk)
        self._launch()
        self._streams.compute.synchronize()
        try:
            self._graphs[key] = self._device.record(self._streams.compute, self._launch)
        except Exception as error:
            _log.warning("CUDA graphs are off, calls go one by one: %s", error)
            self._records = False
            self._forget_graphs()

    def _prepare(self, chunk: _Chunk) -> None:
        """Tell the engines shapes and addresses."""
        ends = {side.binding.name: side.memory for side in (chunk.slot.input, chunk.slot.output)}
        for engine in self._engines:
            engine.reshape(chunk.sizes)
            for binding in engine.manifest.bindings:
                engine.bind(binding.name, ends.get(binding.name) or self._between[binding.name])

    def _launch(self) -> None:
        for engine in self._engines:
            engine.enqueue(self._streams.compute)

    def _forget_graphs(self) -> None:
        """Free the recordings, once none of them runs."""
        if self._graphs:
            self._streams.compute.synchronize()
        for graph in self._graphs.values():
            graph.free()
        self._graphs.clear()
        self._seen.clear()


def _bytes(binding: Binding, sizes: Axes) -> int:
    return int(np.prod(binding.shape(sizes))) * np.dtype(binding.dtype).itemsize
