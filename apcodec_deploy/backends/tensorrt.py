"""TensorRT: engines made by ``apcodec build``, on an NVIDIA GPU.

Threads: any number may call at once. They take turns, since the engines share one working memory and one stream;
reading, resampling and writing of other files go on meanwhile. Free a backend with ``close`` and not by dropping it:
CUDA's memory can only be freed where the GPU is current.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device, Gpu, Memory
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.cuda.streams import Streams
from apcodec_deploy.engines.flavour import TensorRT, flavour_named
from apcodec_deploy.engines.loaded import LoadedEngine
from apcodec_deploy.engines.pipeline import SLOTS, Axes, Pipeline
from apcodec_deploy.engines.store import StoredSet, sets_of, stored_sets
from apcodec_deploy.errors import ApcodecError, EngineError
from apcodec_deploy.forks import abandon, refusal, watch
from apcodec_deploy.precision import AUTO, FLOAT32
from apcodec_deploy.spec import State

_log = logging.getLogger(__name__)


class TensorRTBackend:
    """Runs a set of engines; each direction is loaded when it is first needed."""

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        stored: StoredSet,
        tensorrt: TensorRT,
        device: Device,
        *,
        reason: str = "asked for",
        beyond: Callable[[], Backend] | None = None,
    ) -> None:
        """Take a set of engines that may run here.

        Args:
            bundle: The model.
            stored: The engines.
            tensorrt: What built them.
            device: The GPU.
            reason: Why this backend was taken.
            beyond: Makes the backend for lengths that no optimisation profile takes; where None, they are an error.

        Raises:
            EngineError: It was built from other graphs, by another version, or for another GPU.
        """
        require_fit(bundle, stored, tensorrt, device.gpu)
        identity = stored.manifest.identity
        self.reason = reason
        self.precision = stored.manifest.precision
        self.batch_limit = SLOTS * identity.profile.max_batch
        self._bundle, self._stored, self._tensorrt, self._device = bundle, stored, tensorrt, device
        self._lock = threading.Lock()
        self._beyond = beyond
        self._other: Backend | None = None
        self._pipelines: dict[str, Pipeline] = {}
        self._streams: Streams | None = None
        self._scratch: Memory | None = None
        # Whoever forgets to close it still leaves no memory to be freed when CUDA is gone already.
        atexit.register(_close, weakref.ref(self))
        self._lost = False
        watch(self)

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        if other := self._for_length(self._bundle.spec.latents(audio.shape[1])):
            return other.encode(audio)
        codes: NDArray[np.int32] = self._run("encode", audio)
        return codes

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        if other := self._for_length(codes.shape[2]):
            return other.decode(codes)
        audio: NDArray[np.float32] = self._run("decode", codes)
        return audio

    def push(self, direction: str, rows: NDArray[Any], state: State = ()) -> tuple[NDArray[Any], State]:
        """One call; engines are built for models that carry no state."""
        return (self.encode(rows) if direction == "encode" else self.decode(rows)), state

    def prepare(self, *, encode: bool, decode: bool) -> None:
        with self._turn():
            for direction, wanted in (("encode", encode), ("decode", decode)):
                if wanted:
                    self._pipeline(direction)

    def device_seconds(self, direction: str, rows: NDArray[Any]) -> float:
        """Time the engines alone, by the GPU's own clock.

        Args:
            direction: ``encode`` or ``decode``.
            rows: As that method takes them, of one length, no more than the profile takes at a time.

        Raises:
            EngineError: The engines do not take them in one go.
            BackendError: TensorRT or CUDA fails.
        """
        with self._turn():
            return self._pipeline(direction).device_seconds(rows)

    def close(self) -> None:
        if self._lost:
            return
        # The stack runs all of it, in reverse order, whatever fails. Streams and events end with their last reference,
        # which must be while the GPU is current, so none is kept here.
        with self._lock, self._device.active(), ExitStack() as stack:
            stack.callback(self._forget)
            if self._scratch:
                stack.callback(self._scratch.free)
            for direction in self._pipelines:
                stack.callback(self._pipelines[direction].close)
            if self._streams:
                stack.callback(self._streams.synchronize)

    def forked(self) -> None:
        """CUDA works in one process only."""
        self._lost = True
        abandon(self._device, self._streams, self._scratch, *self._pipelines.values())

    def _forget(self) -> None:
        other, self._other = self._other, None
        if other:
            other.close()
        self._pipelines, self._scratch, self._streams = {}, None, None

    def probe(self) -> None:
        """See whether the engines could be loaded: their files, and TensorRT itself.

        Raises:
            EngineError: A file is not what was built.
            BackendError: TensorRT or the GPU does not work.
        """
        for engine in self._stored.manifest.engines:
            self._stored.read(engine)
        with self._device.active():
            self._tensorrt.runtime()

    def _for_length(self, latents: int) -> Backend | None:
        """The other backend, for a length that the engines do not take and where there may be one."""
        profile = self._stored.manifest.identity.profile
        if self._beyond is None or profile.takes(latents):
            return None
        with self._lock:
            if self._other is None:
                self._other = self._beyond()
                _log.warning(
                    "the engines of profile %s take no %d latents: %s does it (%s)",
                    profile.name,
                    latents,
                    self._other.name,
                    self._other.reason,
                )
            return self._other

    def _run(self, direction: str, rows: NDArray[Any]) -> NDArray[Any]:
        with self._turn():
            return self._pipeline(direction).run(rows)

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

    def _load(self, direction: str) -> Pipeline:
        """Read, verify and deserialise the engines of a direction, and allocate what they need."""
        identity, spec = self._stored.manifest.identity, self._bundle.spec
        runtime = self._tensorrt.runtime()
        graphs = identity.profile.cuda_graphs
        engines: list[LoadedEngine] = []
        try:
            for engine in self._stored.manifest.chain(direction):
                data = self._stored.read(engine)
                engines.append(LoadedEngine(self._tensorrt, runtime, engine, data, graphs=graphs))
            if self._streams is None:
                self._streams = Streams.of(self._device)
            scratch = self._shared_scratch(max(engine.scratch for engine in engines))
        except BaseException:
            for loaded in engines:
                loaded.close()
            raise
        axes: Callable[[int], Axes] = spec.axes_of_audio if direction == "encode" else spec.axes_of_codes
        largest = []
        for batch, latents in identity.profile.shapes:
            longest = spec.samples_range(latents.greatest)[1] if direction == "encode" else latents.greatest
            largest.append({"batch": batch.greatest, **axes(longest)})
        record = not self._tensorrt.records_graphs
        pipeline = Pipeline(self._device, self._streams, engines, identity.profile, axes, largest, record=record)
        pipeline.lend(scratch)
        return pipeline

    def _shared_scratch(self, needed: int) -> Memory:
        """One working memory for all engines, as large as the largest needs; a larger one replaces it for all."""
        if self._scratch is None or self._scratch.size < needed:
            if self._streams:
                self._streams.synchronize()
            old, self._scratch = self._scratch, self._device.allocate(max(needed, 1))
            for pipeline in self._pipelines.values():
                pipeline.lend(self._scratch)
            if old:
                old.free()
        return self._scratch


def _close(reference: weakref.ref[TensorRTBackend]) -> None:
    if backend := reference():
        with suppress(Exception):  # the process ends, and nobody is left to be told
            backend.close()


def require_fit(bundle: Bundle, stored: StoredSet, tensorrt: TensorRT, gpu: Gpu) -> None:
    """Refuse engines that may not run here, before anything of them is read.

    Raises:
        EngineError: Why, and what to do.
    """
    flavour = tensorrt.flavour.name
    refusals = stored.refusals(
        bundle, flavour=flavour, version=tensorrt.version, gpu=gpu.name, compute_capability=gpu.compute_capability
    )
    if refusals:
        identity = stored.manifest.identity
        raise EngineError(
            f"the engines in {stored.path} may not run here: {'; '.join(refusals)}. Build them again: apcodec build "
            f"{bundle.path} --flavour {flavour} --profile {identity.profile.name} --precision {identity.precision}"
        )


def open_tensorrt(
    bundle: Bundle,
    *,
    engines: str | Path | None = None,
    precision: str = AUTO,
    device: int = 0,
    reason: str = "asked for",
    beyond: Callable[[], Backend] | None = None,
) -> TensorRTBackend:
    """The backend on engines of a bundle: those of a directory, or the newest in the cache that may run here.

    Args:
        bundle: The model.
        engines: A directory that ``apcodec build --out`` made; the user's cache where None.
        precision: Of the engines; ``auto`` takes half precision where there is a choice.
        device: Number of the GPU.
        reason: Why this backend was taken.
        beyond: As ``TensorRTBackend`` takes it.

    Raises:
        DeviceError: There is no GPU or no driver.
        MissingDependencyError: The TensorRT that built the engines, or pycuda, is not installed.
        EngineError: There are no engines that may run here; why not is told for each.
    """
    opened = open_device(device)
    if engines is not None:
        stored = StoredSet.open(Path(engines))
        if precision not in (AUTO, stored.manifest.precision):
            raise EngineError(f"the engines in {engines} are {stored.manifest.precision}, not {precision}")
        return _proven(bundle, stored, opened, reason, beyond)
    refused = []
    found = [each for each in stored_sets(bundle) if precision in (AUTO, each.manifest.precision)]
    for stored in sorted(found, key=lambda each: each.manifest.precision == FLOAT32):
        try:
            return _proven(bundle, stored, opened, reason, beyond)
        except ApcodecError as error:
            refused.append(str(error))
    if refused:
        raise EngineError("; ".join(refused))
    wanted = "" if precision == AUTO else f"{precision} "
    raise EngineError(
        f"there are no {wanted}engines of {bundle.name} in {sets_of(bundle)}; make some: apcodec build {bundle.path}"
    )


def _proven(
    bundle: Bundle, stored: StoredSet, device: Device, reason: str, beyond: Callable[[], Backend] | None
) -> TensorRTBackend:
    """A set that may run here, and whose files and TensorRT are as they should be."""
    tensorrt = flavour_named(stored.manifest.identity.flavour).load()
    backend = TensorRTBackend(bundle, stored, tensorrt, device, reason=reason, beyond=beyond)
    backend.probe()
    if not stored.manifest.checked_on(device.gpu.name):
        _log.warning("the engines in %s were not checked on %s; 'apcodec build' does it", stored.path, device.gpu.name)
    return backend
