"""TensorRT: engines made by ``apcodec build``, on an NVIDIA GPU."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from apcodec_deploy.backends.base import Backend
from apcodec_deploy.backends.pipelined import PipelinedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device, Gpu, Memory
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import TensorRT, flavour_named
from apcodec_deploy.engines.loaded import LoadedEngine
from apcodec_deploy.engines.pipeline import SLOTS, Pipeline
from apcodec_deploy.engines.store import StoredSet, sets_of, stored_sets
from apcodec_deploy.errors import ApcodecError, EngineError
from apcodec_deploy.forks import abandon
from apcodec_deploy.precision import AUTO, FLOAT32

_log = logging.getLogger(__name__)


class TensorRTBackend(PipelinedBackend):
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
        profile, precision = stored.manifest.identity.profile, stored.manifest.precision
        super().__init__(bundle, device, profile=profile, precision=precision, reason=reason, beyond=beyond)
        self.batch_limit = SLOTS * profile.max_batch
        self._stored, self._tensorrt = stored, tensorrt
        self._scratch: Memory | None = None

    def forked(self) -> None:
        super().forked()
        abandon(self._scratch)

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

    def layer_types(self, direction: str) -> dict[str, int]:
        """How many layers of a direction's engines compute in which type, as TensorRT built them.

        Raises:
            BackendError: TensorRT does not tell.
        """
        with self._turn():
            runtime = self._tensorrt.runtime()
            counts: Counter[str] = Counter()
            for engine in self._stored.manifest.chain(direction):
                loaded = LoadedEngine(self._tensorrt, runtime, engine, self._stored.read(engine), graphs=False)
                counts.update(loaded.layer_types())
                loaded.close()
            return dict(counts)

    def _memory(self) -> list[Memory]:
        return [self._scratch] if self._scratch else []

    def _forget(self) -> None:
        super()._forget()
        self._scratch = None

    def _load(self, direction: str) -> Pipeline:
        """Read, verify and deserialise the engines of a direction, and allocate what they need."""
        runtime = self._tensorrt.runtime()
        graphs = self._profile.cuda_graphs
        engines: list[LoadedEngine] = []
        try:
            for engine in self._stored.manifest.chain(direction):
                data = self._stored.read(engine)
                engines.append(LoadedEngine(self._tensorrt, runtime, engine, data, graphs=graphs))
            streams = self._queues()
            scratch = self._shared_scratch(max(engine.scratch for engine in engines))
        except BaseException:
            for loaded in engines:
                loaded.close()
            raise
        axes, largest = self._axes(direction)
        record = not self._tensorrt.records_graphs
        pipeline = Pipeline(self._device, streams, engines, self._profile, axes, largest, record=record)
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
