"""One direction of the codec on a GPU: rows go in, rows come out, and copies overlap with computing.

        copy in   | chunk 0 | chunk 1 | chunk 2 |
        compute             | chunk 0 | chunk 1 | chunk 2 |
        copy out                      | chunk 0 | chunk 1 | ...

Only audio and codes cross the bus. What streams carry stays on the GPU, and is copied there before and after the
computing (``pool``). Three slots of input and output take turns, so one chunk is copied in and another one out while a
third is computed. All computing is on one stream, so what the engines hand to each other, and their working memory,
exist once.
Everything is allocated at the first call, as large as any profile may need it: the sizes follow from the lengths.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Device, HostMemory, Memory
from apcodec_deploy.cuda.streams import Streams
from apcodec_deploy.engines.manifest import Binding
from apcodec_deploy.engines.pool import Carriage
from apcodec_deploy.engines.profile import Profile, Range
from apcodec_deploy.engines.slot import Axes, Chunk, Key, Setting, Side, Slot, Stage, bytes_of
from apcodec_deploy.errors import EngineError

SLOTS = 3
"""One is filled, one computed, one emptied."""
_log = logging.getLogger(__name__)


class Pipeline:
    """The engines of one direction, with all that they need; for one thread at a time, inside ``device.active()``."""

    def __init__(
        self,
        device: Device,
        streams: Streams,
        engines: Sequence[Stage],
        profile: Profile,
        axes: Callable[[int], Axes],
        largest: Sequence[Axes],
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
            largest: For each optimisation profile, all axes of the most and longest rows that it takes.
            record: Whether to record calls of the profile's usual shape as CUDA graphs.
        """
        self._device, self._streams, self._engines = device, streams, list(engines)
        self._profile, self._axes, self._records = profile, axes, record and profile.cuda_graphs
        # What is before and behind them is what streams carry, which stays on the GPU.
        first = next(each for each in self._engines[0].manifest.bindings if not each.output)
        last = next(each for each in self._engines[-1].manifest.bindings if each.output)
        self._owned: list[Memory | HostMemory] = []
        self._between: dict[str, Memory] = {}
        self._slots: list[Slot] = []
        self._scratch: Memory | None = None
        try:
            self._begun, self._ended = device.event(timed=True), device.event(timed=True)
            for engine in self._engines:
                for binding in engine.manifest.bindings:
                    if binding.name in (first.name, last.name) or binding.name in self._between:
                        continue
                    self._between[binding.name] = self._allocate(binding, largest)
            for _ in range(SLOTS):
                ahead, back = (self._side(binding, largest) for binding in (first, last))
                self._slots.append(Slot(ahead, back, device.event(), [self._setting()]))
        except BaseException:
            self.close()
            raise

    def run(self, rows: NDArray[Any], carriage: Carriage | None = None) -> NDArray[Any]:
        """Pass rows of one length through the engines, in chunks of what the profile takes at a time.

        Args:
            rows: As the first engine takes them.
            carriage: The streams that the rows go on with, where the engines have a state.

        Raises:
            EngineError: The engines take no rows of this length.
            BackendError: TensorRT or CUDA fails. What was queued has come to its end.
        """
        index, batch, axes = self._fit(rows)
        output = self._slots[0].output.binding
        results = np.empty(output.shape({"batch": len(rows), **axes}), output.dtype)
        queued: list[Chunk] = []
        with self._streams.settled():
            for number, start in enumerate(range(0, len(rows), batch.greatest)):
                if len(queued) == SLOTS:
                    queued.pop(0).collect(results)
                count = min(batch.greatest, len(rows) - start)
                # No fewer rows than the profile takes; those beyond the clip's are silence, and dropped.
                sizes = {"batch": max(count, batch.least), **axes}
                chunk = Chunk(self._slots[number % SLOTS], start, count, sizes)
                self._queue(chunk, rows[start : start + count], index, carriage)
                queued.append(chunk)
            for chunk in queued:
                chunk.collect(results)
        return results

    def device_seconds(self, rows: NDArray[Any], carriage: Carriage | None = None) -> float:
        """Time the engines alone, between an event before and one behind a call on rows that are on the GPU already.

        Shapes and recording are those of ``run``. Another call is queued ahead, as trtexec does it, so that the GPU has
        not run out of work while the host still queues what is timed.

        Raises:
            EngineError: The engines take no rows of this length, or not so many at a time.
            BackendError: TensorRT or CUDA fails. What was queued has come to its end.
        """
        index, batch, axes = self._fit(rows)
        if not 1 <= len(rows) <= batch.greatest:
            raise EngineError(
                f"{len(rows)} rows; the engines of profile {self._profile.name} take 1 to {batch.greatest} of "
                "this length at a time. Time fewer, or build engines with another: apcodec build --profile throughput"
            )
        chunk = Chunk(self._slots[0], 0, len(rows), {"batch": max(len(rows), batch.least), **axes})
        self.run(rows, carriage)  # always from the first slot on
        compute = self._streams.compute
        with self._streams.settled():
            self._compute(chunk, index)  # a second call of the same shape: what is to be recorded is recorded here
            self._begun.record(compute)
            self._compute(chunk, index)
            self._ended.record(compute)
            self._ended.synchronize()
        return self._ended.time_since(self._begun) / 1000

    def lend(self, scratch: Memory) -> None:
        """Give the engines another working memory; nothing may be queued. Recordings hold the old one."""
        self._scratch = scratch
        for slot in self._slots:
            for setting in slot.settings:
                setting.void()
                for context in setting.contexts:
                    context.lend(scratch)

    def close(self) -> None:
        """Give everything back, whatever fails meanwhile; nothing may be queued any more."""
        engines, slots, owned = self._engines, self._slots, self._owned
        self._engines, self._slots, self._between, self._owned = [], [], {}, []
        with ExitStack() as stack:  # in reverse order: recordings, contexts, engines, memory
            for memory in owned:
                stack.callback(memory.free)
            for engine in engines:
                stack.callback(engine.close)
            for slot in slots:
                for setting in slot.settings:
                    for context in setting.contexts:
                        stack.callback(context.close)
                    stack.callback(setting.void)

    def _fit(self, rows: NDArray[Any]) -> tuple[int, Range, Axes]:
        """The optimisation profile for rows, how many it takes at a time, and their other axes."""
        axes = self._axes(rows.shape[-1])
        index = self._profile.best(len(rows), axes["latents"])
        return index, self._profile.shapes[index].batch, axes

    def _allocate(self, binding: Binding, largest: Sequence[Axes]) -> Memory:
        memory = self._device.allocate(bytes_of(binding, largest))
        self._owned.append(memory)
        return memory

    def _side(self, binding: Binding, largest: Sequence[Axes]) -> Side:
        host = self._device.pin(bytes_of(binding, largest))
        self._owned.append(host)
        return Side(binding, host, self._allocate(binding, largest), self._device.event())

    def _queue(self, chunk: Chunk, rows: NDArray[Any], index: int, carriage: Carriage | None) -> None:
        """Queue a chunk's copy in, its computing and its copy out."""
        slot, streams = chunk.slot, self._streams
        staged = slot.input.rows(chunk.sizes)
        staged[: chunk.count] = rows
        staged[chunk.count :] = 0
        self._device.upload(slot.input.memory, staged, streams.copy_in)
        slot.input.copied.record(streams.copy_in)
        if carriage:
            carriage.load(chunk.start, chunk.count, chunk.sizes["batch"], self._between, streams.compute)
        streams.compute.wait_for_event(slot.input.copied)
        self._compute(chunk, index)
        if carriage:
            carriage.store(chunk.start, chunk.count, self._between, streams.compute)
        slot.computed.record(streams.compute)
        streams.copy_out.wait_for_event(slot.computed)
        self._device.download(slot.output.rows(chunk.sizes), slot.output.memory, streams.copy_out)
        slot.output.copied.record(streams.copy_out)

    def _compute(self, chunk: Chunk, index: int) -> None:
        """Queue the engines, or replay their recording."""
        sizes = chunk.sizes
        key = (index, sizes["batch"], sizes["samples"])
        setting = self._setting_for(chunk.slot, key)
        if setting.key != key:
            self._prepare(chunk.slot, setting, index, sizes)
            self._launch(setting)
            setting.key = key  # only now: what failed is no call that a recording may follow
            return
        if self._records and not setting.graph and self._profile.recorded(index, sizes["batch"], sizes["latents"]):
            self._record(setting)
        if setting.graph is None:
            self._launch(setting)
        else:
            setting.graph.launch(self._streams.compute)

    def _setting_for(self, slot: Slot, key: Key) -> Setting:
        """The setting of a shape, a new one, or the one that was not used for longest; it is the last one now."""
        held = slot.settings
        found = next((each for each in held if each.key in (key, None)), None)
        if found is None:
            found = self._setting() if len(held) < self._profile.recordings else held[0]
        held[:] = [*(each for each in held if each is not found), found]
        return found

    def _setting(self) -> Setting:
        """Contexts without shapes."""
        setting = Setting([engine.context() for engine in self._engines])
        if self._scratch:
            for context in setting.contexts:
                context.lend(self._scratch)
        return setting

    def _record(self, setting: Setting) -> None:
        """Record the engines as they ran last time in a setting: TensorRT asks for one plain call of a shape before.

        Where that fails, calls go one by one from now on.
        """
        self._streams.compute.synchronize()
        try:
            setting.graph = self._device.record(self._streams.compute, partial(self._launch, setting))
        except Exception as error:
            _log.warning("CUDA graphs are off, calls go one by one: %s", error)
            self._records = False

    def _prepare(self, slot: Slot, setting: Setting, index: int, sizes: Axes) -> None:
        """Tell the contexts of a slot's setting their optimisation profile, shapes and addresses."""
        if setting.graph:
            self._streams.compute.synchronize()
        setting.void()
        ends = {side.binding.name: side.memory for side in (slot.input, slot.output)}
        for context in setting.contexts:
            context.select(index, self._streams.compute)
            context.reshape(sizes)
            for binding in context.engine.bindings:
                context.bind(binding.name, ends.get(binding.name) or self._between[binding.name])

    def _launch(self, setting: Setting) -> None:
        for context in setting.contexts:
            context.enqueue(self._streams.compute)
