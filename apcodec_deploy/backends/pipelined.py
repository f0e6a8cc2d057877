"""What backends that run on a GPU share: one pipeline per direction, one caller at a time, and memory freed in time.

Threads: any number may call at once. They take turns, since a direction has one stream to compute on; reading,
resampling and writing of other files go on meanwhile. Free a backend with ``close`` and not by dropping it: CUDA's
memory can only be freed where the GPU is current.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.states import ByPush, checked, of_rows
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device, Memory
from apcodec_deploy.cuda.streams import Streams
from apcodec_deploy.engines.pipeline import Pipeline
from apcodec_deploy.engines.pool import Carriage, StatePool, StateRow
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.engines.slot import Axes
from apcodec_deploy.errors import BackendError
from apcodec_deploy.forks import abandon, refusal, watch
from apcodec_deploy.spec import State

_log = logging.getLogger(__name__)


class PipelinedBackend(ByPush):
    """Runs each direction as a ``Pipeline``, which is loaded when it is first needed.

    A stream's state is a ``StateRow``: it stays on the GPU until it is fetched, and is gone when this is closed.
    """

    name: str

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        *,
        profile: Profile,
        precision: str,
        reason: str,
        beyond: Callable[[], Backend] | None,
    ) -> None:
        """Hold what is needed to load.

        Args:
            bundle: The model.
            device: The GPU.
            profile: Which batches and lengths are taken.
            precision: Of the networks.
            reason: Why this backend was taken.
            beyond: Makes the backend for lengths that the profile does not take; where None, they are an error.
        """
        self.reason, self.precision = reason, precision
        self._bundle, self._device, self._profile = bundle, device, profile
        self._lock = threading.Lock()
        self._beyond = beyond
        self._other: Backend | None = None
        self._pipelines: dict[str, Pipeline] = {}
        self._pools: dict[str, StatePool] = {}
        self._streams: Streams | None = None
        # Whoever forgets to close it still leaves no memory to be freed when CUDA is gone already.
        atexit.register(_close, weakref.ref(self))
        self._lost = False
        watch(self)

    @abstractmethod
    def _load(self, direction: str) -> Pipeline:
        """Load a direction and allocate what it needs; the GPU is current."""

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        before = of_rows(states, len(rows))
        if not self._carries(direction):
            other = self._for_length(self._axes_of(direction)(rows.shape[-1])["latents"])
            if other:
                return other.push(direction, rows, before)
        return self._run(direction, rows, before)

    def fetched(self, direction: str, state: Carried) -> State:
        if not isinstance(state, StateRow):
            return checked(self._bundle.spec, direction, state)
        with self._turn():
            pool = self._pool(direction)
            return pool.fetch(pool.require(state), self._queues().compute)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        with self._turn():
            for direction, wanted in (("encode", encode), ("decode", decode)):
                if wanted:
                    self._pipeline(direction)

    def device_seconds(self, direction: str, rows: NDArray[Any]) -> float:
        """Time the computing alone, by the GPU's own clock.

        Args:
            direction: ``encode`` or ``decode``.
            rows: As that method takes them, of one length, no more than the profile takes at a time.

        Raises:
            EngineError: They are not taken in one go.
            BackendError: The runtime or CUDA fails.
        """
        with self._turn():
            pipeline = self._pipeline(direction)
            pool = self._pool(direction) if self._carries(direction) else None
            new = Carriage(pool, [None] * len(rows), pool.take(len(rows))) if pool else None
            return pipeline.device_seconds(rows, new)

    def replays(self, rows: int, latents: int) -> bool:
        """Whether so many rows of a length are replayed from CUDA graphs alone, once they have come before."""
        return self._profile.replays(rows, latents)

    def close(self) -> None:
        if self._lost:
            return
        with self._lock, self._device.active(), ExitStack() as stack:
            pools, self._pools = self._pools, {}
            for pool in pools.values():
                stack.callback(pool.close)
            stack.callback(self._unload)

    def _unload(self) -> None:
        """Free all but what streams carry, which nothing could bring back; the GPU is current, and ours."""
        # The stack runs all of it, in reverse order, whatever fails. Streams and events end with their last reference,
        # which must be while the GPU is current, so none is kept here.
        with ExitStack() as stack:
            stack.callback(self._forget)
            for memory in self._memory():
                stack.callback(memory.free)
            for direction in self._pipelines:
                stack.callback(self._pipelines[direction].close)
            if self._streams:
                stack.callback(self._streams.synchronize)

    def forked(self) -> None:
        """CUDA works in one process only."""
        self._lost = True
        abandon(self._device, self._streams, *self._pipelines.values(), *self._pools.values())

    def _memory(self) -> list[Memory]:
        """What else must be freed."""
        return []

    def _forget(self) -> None:
        other, self._other = self._other, None
        if other:
            other.close()
        self._pipelines, self._streams = {}, None

    def _for_length(self, latents: int) -> Backend | None:
        """The other backend, for a length that the profile does not take and where there may be one."""
        if self._beyond is None or self._profile.takes(latents):
            return None
        with self._lock:
            if self._other is None:
                self._other = self._beyond()
                self._told_of_other(latents, self._other)
            return self._other

    def _told_of_other(self, latents: int, other: Backend) -> None:
        _log.warning(
            "the engines of profile %s take no %d latents: %s does it (%s)",
            self._profile.name,
            latents,
            other.name,
            other.reason,
        )

    def _run(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried]
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        """One call, or for streams as many as their length takes."""
        with self._turn():
            pipeline = self._pipeline(direction)
            if self._carries(direction):
                return self._go_on(pipeline, direction, rows, states)
            for state in states:
                checked(self._bundle.spec, direction, state)
            return pipeline.run(rows), ((),) * len(rows)

    def _go_on(
        self, pipeline: Pipeline, direction: str, rows: NDArray[Any], states: Sequence[Carried]
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        """Go on with streams, in calls of what the profile takes: they may be cut anywhere between two tokens."""
        unit = self._bundle.spec.samples_per_latent if direction == "encode" else 1
        if not rows.shape[-1] or rows.shape[-1] % unit:
            raise BackendError(f"a push of {rows.shape[-1]} samples; whole tokens of {unit} samples are expected")
        pool = self._pool(direction)
        before = [self._row(pool, direction, state) for state in states]
        results, start = [], 0
        for latents in self._profile.cuts(rows.shape[-1] // unit):
            stop = start + latents * unit
            after = pool.take(len(rows))
            results.append(pipeline.run(rows[..., start:stop], Carriage(pool, before, after)))
            before, start = [*after], stop
        return np.concatenate(results, axis=-1) if len(results) > 1 else results[0], tuple(before)

    def _row(self, pool: StatePool, direction: str, state: Carried) -> StateRow | None:
        """Where a stream's state is on the GPU; None for a new stream."""
        if isinstance(state, StateRow):
            return pool.require(state)
        if state == ():
            return None
        return pool.restore(checked(self._bundle.spec, direction, state), self._queues().compute)

    def _carries(self, direction: str) -> bool:
        """Whether streams of a direction have a state."""
        return bool(self._bundle.spec.states[direction])

    def _pool(self, direction: str) -> StatePool:
        if direction not in self._pools:
            self._pools[direction] = StatePool(self._device, direction, self._bundle.spec.states[direction])
        return self._pools[direction]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The GPU, for one caller at a time."""
        if self._lost:
            raise refusal("CUDA")
        with self._lock, self._device.active():
            yield

    def _pipeline(self, direction: str) -> Pipeline:
        if direction not in self._pipelines:
            self._pipelines[direction] = self._load(direction)
        return self._pipelines[direction]

    def _queues(self) -> Streams:
        """The streams that both directions share."""
        if self._streams is None:
            self._streams = Streams.of(self._device)
        return self._streams

    def _axes_of(self, direction: str) -> Callable[[int], Axes]:
        """The dynamic axes for a length of the rows."""
        spec = self._bundle.spec
        return spec.axes_of_call if direction == "encode" else spec.axes_of_codes

    def _axes(self, direction: str) -> tuple[Callable[[int], Axes], list[Axes]]:
        """The dynamic axes for a length of the rows; and for each optimisation profile those of its largest rows."""
        axes = self._axes_of(direction)
        largest: list[Axes] = []
        for batch, latents in self._profile.shapes:
            longest = latents.greatest
            longest = self._bundle.spec.call_samples(longest) if direction == "encode" else longest
            largest.append({"batch": batch.greatest, **axes(longest)})
        return axes, largest


def _close(reference: weakref.ref[PipelinedBackend]) -> None:
    if backend := reference():
        with suppress(Exception):  # the process ends, and nobody is left to be told
            backend.close()
