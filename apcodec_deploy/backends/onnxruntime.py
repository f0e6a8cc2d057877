"""ONNX Runtime, graph by graph: on the CPU the default everywhere, on a GPU for clips of any length."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.card import UNKNOWN_CARD_BATCH, provider_options, tf32_wanted
from apcodec_deploy.backends.proving import proven
from apcodec_deploy.backends.states import ByPush, checked, stacked, unstacked
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.driver import driver_trouble
from apcodec_deploy.errors import ApcodecError, BackendError, BundleError
from apcodec_deploy.forks import abandon, refusal, watch
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.ort import cuda_trouble, onnxruntime, preload_cuda, session_options
from apcodec_deploy.precision import FLOAT32
from apcodec_deploy.processor import Processor, this_processor
from apcodec_deploy.proof import Verdict
from apcodec_deploy.spec import State

CUDA_PROVIDER = "CUDAExecutionProvider"
Values = list[Any]
"""What graphs hand to each other: ``OrtValue``s, wherever they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where sessions run.

    Attributes:
        provider: ONNX Runtime's name for it.
        options: The provider's own.
        device: Where what graphs hand to each other stays, as IO binding calls it.
        index: Which one of them.
        batch_limit: The most clips that are worth running at a time.
    """

    provider: str
    options: dict[str, str] = field(default_factory=dict)
    device: str
    index: int = 0
    batch_limit: int


CPU = Placement(provider="CPUExecutionProvider", device="cpu", batch_limit=1)
"""More clips at a time gain nothing on a CPU and leave its caches."""


def cuda(index: int = 0) -> Placement:
    """A GPU of which nothing more is known than its number."""
    return Placement(
        provider=CUDA_PROVIDER,
        options=provider_options(index, tf32=tf32_wanted()),
        device="cuda",
        index=index,
        batch_limit=UNKNOWN_CARD_BATCH,
    )


class OnnxRuntimeBackend(ByPush):
    """Runs a bundle's graphs one after the other; each is loaded when it is first needed.

    Only audio and codes cross to a GPU and back: what the graphs hand to each other stays where it is.
    """

    name = "onnxruntime"

    def __init__(
        self,
        bundle: Bundle,
        *,
        placement: Placement = CPU,
        precision: str = FLOAT32,
        reason: str = "asked for",
        threads: int | None = None,
    ) -> None:
        self.reason = reason
        self.precision = precision
        self.verdict: Verdict | None = None
        self.batch_limit = placement.batch_limit
        self._bundle, self._placement = bundle, placement
        self._graphs, self.chains = bundle.spec.graphs, bundle.spec.chains
        self._threads = available_cpus() if threads is None else threads
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._lost = False
        watch(self)

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        before = stacked(self._bundle.spec, direction, states, len(rows))
        *_, (_, values) = self.steps(self.chains[direction], (rows, *before))
        result, *after = (value.numpy() for value in values)
        return result, unstacked(after, len(rows))

    def fetched(self, direction: str, state: Carried) -> State:
        return checked(self._bundle.spec, direction, state)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        for name in self.chains["encode"] * encode + self.chains["decode"] * decode:
            self._session(name)

    def probe(self) -> None:
        """Load the smallest graph, which shows whether the device works."""
        self._session(self.chains["decode"][0])

    def close(self) -> None:
        with self._lock:
            self._sessions.clear()

    def forked(self) -> None:
        """On the CPU sessions are loaded anew in the child; CUDA works in one process only."""
        self._lost |= bool(self._sessions) and self._placement.device != CPU.device
        abandon(*self._sessions.values())
        self._sessions, self._lock = {}, threading.Lock()

    def steps(self, names: tuple[str, ...], arrays: tuple[NDArray[Any], ...] | Values) -> Iterator[tuple[str, Values]]:
        """Run graphs in turn, each on all outputs of the one before; the last one's outputs come to the host.

        Args:
            names: One of ``chains``, or a part of one.
            arrays: What the first one takes: arrays, or what an earlier step gave.

        Yields:
            Each graph's name and its outputs when it has run, so that a caller can time it.
        """
        place = self._placement
        take = onnxruntime.OrtValue.ortvalue_from_numpy
        values = [take(each) if isinstance(each, np.ndarray) else each for each in arrays]
        for name in names:
            session = self._session(name)
            try:
                binding = session.io_binding()
                for tensor, value in zip(self._graphs[name].inputs, values, strict=True):
                    binding.bind_ortvalue_input(tensor.name, value)
                for tensor in self._graphs[name].outputs:
                    if name == names[-1]:
                        binding.bind_output(tensor.name, "cpu")
                    else:
                        binding.bind_output(tensor.name, place.device, place.index)
                session.run_with_iobinding(binding)
                values = list(binding.get_outputs())
            except Exception as error:  # ONNX Runtime raises its own types, which share no base with ours
                shapes = ", ".join(str(list(value.shape())) for value in values)
                raise BackendError(f"ONNX Runtime could not run {name} on {shapes}: {error}") from error
            yield name, values

    def _session(self, name: str) -> Any:
        with self._lock:
            if self._lost:
                raise refusal("CUDA")
            if name not in self._sessions:
                self._sessions[name] = self._load(name)
            return self._sessions[name]

    def _load(self, name: str) -> Any:
        place = self._placement
        return load_session(self._bundle, name, self.precision, self._threads, place.provider, place.options)


def load_session(
    bundle: Bundle, name: str, precision: str, threads: int, provider: str, options: Mapping[str, str]
) -> Any:
    """A session of one graph of a bundle.

    Raises:
        BundleError: ONNX Runtime does not take the graph, or it is not what the bundle says of the model.
        BackendError: The provider did not load.
    """
    data = bundle.graph(name, precision)
    if provider == CUDA_PROVIDER:
        preload_cuda()
    try:
        session = onnxruntime.InferenceSession(
            data,
            session_options(threads),
            providers=[(provider, dict(options))],
            enable_fallback=0,  # else it prints what went wrong to stdout, and goes on on the CPU
        )
    except Exception as error:
        if trouble := driver_trouble("ONNX Runtime", str(error), instead="an onnxruntime-gpu for that CUDA"):
            raise BackendError(trouble) from error
        raise BundleError(f"ONNX Runtime cannot load {name} of {bundle.path}: {error}") from error
    if session.get_providers()[0] != provider:
        # It only logs that a provider's library did not load, and goes on on the CPU.
        raise BackendError(
            f"{provider} did not load, ONNX Runtime would run {name} on {session.get_providers()[0]}: "
            f"{cuda_trouble() or 'it did not say why'}. Its CUDA and cuDNN libraries come with pip install "
            "'onnxruntime-gpu[cuda,cudnn]', or name their folders in LD_LIBRARY_PATH"
        )
    _check(bundle, name, session)
    return session


def _check(bundle: Bundle, name: str, session: Any) -> None:
    """Hold a graph's names and sizes against what the bundle says of the model."""
    signature = bundle.spec.graphs[name]
    expected = [(value.name, list(value.dims)) for value in (*signature.inputs, *signature.outputs)]
    found = [(value.name, list(value.shape)) for value in (*session.get_inputs(), *session.get_outputs())]
    if found != expected:
        raise BundleError(
            f"{name} of {bundle.path} has {found}, its model.json says {expected}; export the checkpoint again"
        )


def open_cpu(
    bundle: Bundle,
    *,
    precision: str = FLOAT32,
    threads: int | None = None,
    reason: str = "asked for",
    unproven: bool = False,
) -> OnnxRuntimeBackend:
    """ONNX Runtime on the CPU.

    Raises:
        BackendError: The precision misses the bundle's proof on this processor.
        BundleError: The bundle has no graphs of that precision, or no proof.
    """
    if precision != FLOAT32:
        bundle.variant(precision)
    backend = OnnxRuntimeBackend(bundle, precision=precision, threads=threads, reason=reason)
    return proved(bundle, backend, this_processor(), unproven=unproven)


class _Provable(Backend, Protocol):
    verdict: Verdict | None


_Proven = TypeVar("_Proven", bound=_Provable)


def proved(bundle: Bundle, backend: _Proven, processor: Processor | None, *, unproven: bool) -> _Proven:
    """The backend, once a reduced precision has met the bundle's proof.

    Raises:
        BackendError: It does not meet it.
        BundleError: There is no proof.
    """
    if backend.precision != FLOAT32 and not unproven:
        try:
            backend.verdict = proven(
                bundle, backend, runtime=f"ONNX Runtime {onnxruntime.__version__}", processor=processor
            )
        except ApcodecError:
            backend.close()
            raise
    return backend
