"""ONNX Runtime on a GPU through pipelines: pinned copies beside the computing, fixed windows as CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.card import CardUse
from apcodec_deploy.backends.onnxruntime import CUDA_PROVIDER, OnnxRuntimeBackend, Values, cuda, load_session, proved
from apcodec_deploy.backends.pipelined import PipelinedBackend
from apcodec_deploy.backends.sessions import GraphBindings, Session
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.manifest import bindings_of
from apcodec_deploy.engines.pipeline import SLOTS, Pipeline
from apcodec_deploy.errors import BackendError, BundleError, DeviceError, MissingDependencyError
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.ort import onnxruntime
from apcodec_deploy.precision import FLOAT32
from apcodec_deploy.proof import Verdict

_NO_MEMORY = ("failed to allocate", "out of memory", "available memory", "no memory")
"""What ONNX Runtime and CUDA say where a card is full."""
_log = logging.getLogger(__name__)


class CudaBackend(PipelinedBackend):
    """Runs the graphs of a bundle on a GPU; what is longer than a window goes ``beyond``, and streams go on."""

    name = "onnxruntime"

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        *,
        precision: str,
        threads: int,
        reason: str,
        beyond: Callable[[], OnnxRuntimeBackend],
        use: CardUse | None = None,
    ) -> None:
        """Decide how the card is used.

        Args:
            bundle: The model.
            device: The GPU.
            precision: Of the networks.
            threads: CPU threads for what runs on the host.
            reason: Why this backend was taken.
            beyond: Makes the backend for clips that are longer than a window.
            use: How the card is used; decided from its free memory where None.

        Raises:
            DeviceError: The GPU does not work.
        """
        if use is None:
            with device.active():
                use = CardUse.of(bundle, device.free_memory())
        profile = use.profile(bundle)
        super().__init__(bundle, device, profile=profile, precision=precision, reason=reason, beyond=beyond)
        self.verdict: Verdict | None = None
        self._why, self._threads, self._by_graph = reason, threads, beyond
        self._take(use)

    def probe(self) -> None:
        """Load the smallest graph, which shows whether the provider works."""
        with self._turn():
            self._session(self._bundle.spec.chains["decode"][0]).close()

    @property
    def chains(self) -> Mapping[str, tuple[str, ...]]:
        """The graphs of each direction."""
        return self._bundle.spec.chains

    def steps(self, names: tuple[str, ...], arrays: tuple[NDArray[Any], ...] | Values) -> Iterator[tuple[str, Values]]:
        """Run graphs in turn, each to its end, as ``OnnxRuntimeBackend.steps`` does."""
        with self._lock:
            other = self._other = self._other or self._by_graph()
        assert isinstance(other, OnnxRuntimeBackend)  # which is all that ``beyond`` makes
        return other.steps(names, arrays)

    def _take(self, use: CardUse) -> None:
        self._use, self._profile = use, use.profile(self._bundle)
        self.batch_limit = SLOTS * use.batch
        self.reason = f"{self._why}; {use}"

    def _run(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried]
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        while True:
            try:
                return super()._run(direction, rows, states)
            except (BackendError, DeviceError) as error:
                if self._use.batch == 1 or not any(each in str(error).lower() for each in _NO_MEMORY):
                    raise
                with self._turn():
                    self._unload()
                self._take(self._use.halved)
                _log.warning("%s has no memory for %s: %s", self._device.gpu.name, direction, self._use)

    def _told_of_other(self, latents: int, other: Backend) -> None:
        """Nothing: it is the same library on the same card."""

    def _load(self, direction: str) -> Pipeline:
        sessions: list[Session] = []
        try:
            for name in self._bundle.spec.chains[direction]:
                sessions.append(self._session(name))
            axes, largest = self._axes(direction)
            return Pipeline(self._device, self._queues(), sessions, self._profile, axes, largest, record=False)
        except BaseException:
            for session in sessions:
                session.close()
            raise

    def _session(self, name: str) -> Session:
        """A graph on our stream; without recording where ONNX Runtime cannot record this graph, told once."""
        signature = self._bundle.spec.graphs[name]
        bindings = GraphBindings(name, bindings_of(signature, signature))
        index = self._device.gpu.index
        stream = self._queues().compute.handle
        try:
            held = self._loaded(name, self._use.session_options(name, index, stream))
        except BundleError as error:
            if not self._use.graphs:
                raise
            held = self._loaded(name, replace(self._use, graphs=False).session_options(name, index, stream))
            _log.warning("CUDA graphs are off, calls go one by one: %s", error)
            self._take(replace(self._use, graphs=False))
        return Session(held, bindings, self._profile, index, graphs=self._use.graphs)

    def _loaded(self, name: str, options: dict[str, str]) -> Any:
        return load_session(self._bundle, name, self.precision, self._threads, CUDA_PROVIDER, options)


def open_cuda(
    bundle: Bundle,
    *,
    index: int = 0,
    precision: str = FLOAT32,
    threads: int | None = None,
    reason: str = "asked for",
    unproven: bool = False,
) -> CudaBackend | OnnxRuntimeBackend:
    """ONNX Runtime on a GPU, proven to be there: the smallest graph is loaded on it.

    Without pycuda it runs graph by graph; its reason says so.

    Raises:
        BackendError: The installed ONNX Runtime has no CUDA, CUDA does not load, or the precision misses the bundle's
            proof on this GPU.
        BundleError: The bundle has no graphs of that precision, or no proof.
        DeviceError: There is no driver, or no such GPU.
    """
    held = onnxruntime.get_available_providers()
    if CUDA_PROVIDER not in held:
        raise BackendError(
            f"the installed ONNX Runtime {onnxruntime.__version__} has {', '.join(held)} only; to get CUDA: "
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    if precision != FLOAT32:
        bundle.variant(precision)
    threads = available_cpus() if threads is None else threads

    def plain(why: str = reason) -> OnnxRuntimeBackend:
        return OnnxRuntimeBackend(bundle, placement=cuda(index), precision=precision, threads=threads, reason=why)

    backend: CudaBackend | OnnxRuntimeBackend
    try:
        device = open_device(index)
        backend = CudaBackend(bundle, device, precision=precision, threads=threads, reason=reason, beyond=plain)
    except MissingDependencyError as error:
        backend = plain(f"{reason}; graph by graph, copies not pinned and nothing recorded: {error}")
    backend.probe()
    return proved(bundle, backend, None, unproven=unproven)  # verdicts are kept for processors, not for GPUs
