"""OpenVINO: the same graphs on the CPU, in float32, bfloat16 or 8-bit integers. An optional package.

The networks are rewritten to the form that it computes fastest (``layout``), and compiled graphs are kept in the user's
cache (``compiled``). Graphs are compiled for the length of the model's own windows, which is up to a fifth faster than
for any length; other lengths (short clips, other windows, whole clips) share graphs that take them all. Which of the
two a window gets depends on its length alone, so codes do not depend on what was coded before. Calls of a stream share
graphs of any length, because those of one length round another way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.compiled import compiled
from apcodec_deploy.backends.layout import FORM, channels_first
from apcodec_deploy.backends.proving import proven
from apcodec_deploy.backends.states import ByPush, checked, stacked, unstacked
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ApcodecError, BackendError, BundleError
from apcodec_deploy.forks import abandon, watch
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.ov import claim_threads, import_openvino, open_core
from apcodec_deploy.precision import AUTO, BFLOAT16, FLOAT32, INT8
from apcodec_deploy.processor import this_processor
from apcodec_deploy.proof import Verdict
from apcodec_deploy.spec import State

AUTO_AGREEMENT = 0.8
"""The least share of float32's codes, over all codebooks of the proof, for a precision that is taken unasked."""
_BF16 = "BF16"
"""What OpenVINO calls a processor's instructions for products of bfloat16."""


class OpenVinoBackend(ByPush):
    """Runs a bundle's graphs one after the other; each is compiled when it is first needed."""

    name = "openvino"
    batch_limit = 1

    def __init__(
        self,
        bundle: Bundle,
        core: Any,
        *,
        precision: str = FLOAT32,
        reason: str = "asked for",
        threads: int | None = None,
        calls: int = 1,
    ) -> None:
        self.reason = reason
        self.precision = precision
        self.verdict: Verdict | None = None
        self._bundle, self._core = bundle, core
        # Around 8-bit products the rest is too fast to be let alone: bfloat16 there, where the processor has it.
        reduced = precision == BFLOAT16 or (precision == INT8 and _BF16 in capabilities(core))
        self._hint = "bf16" if reduced else "f32"
        self._threads = available_cpus() if threads is None else threads
        self._calls = calls
        self._graph_signatures, self.chains = bundle.spec.graphs, bundle.spec.chains
        self._streams = any(bundle.spec.states.values())
        latents = bundle.spec.layout().length
        self._sizes = {
            "batch": 1,
            **bundle.spec.axes_of_codes(latents),
            "samples": bundle.spec.call_samples(latents),
        }
        self._graphs: dict[tuple[str, bool], _Compiled] = {}
        self._lock = threading.Lock()
        watch(self)

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        before = stacked(self._bundle.spec, direction, states, len(rows))
        result, *after = self._chain(self.chains[direction], (rows, *before))
        return result, unstacked(after, len(rows))

    def fetched(self, direction: str, state: Carried) -> State:
        return checked(self._bundle.spec, direction, state)

    def prepare(self, *, encode: bool, decode: bool) -> None:
        for name in self.chains["encode"] * encode + self.chains["decode"] * decode:
            self._graph(name, fixed=not self._streams)

    def close(self) -> None:
        with self._lock:
            self._graphs.clear()

    def forked(self) -> None:
        """Only where nothing was compiled before does OpenVINO work in a child: its graphs share threads."""
        abandon(*self._graphs.values())
        self._graphs, self._lock = {}, threading.Lock()

    def steps(
        self, names: tuple[str, ...], arrays: tuple[NDArray[Any], ...]
    ) -> Iterator[tuple[str, tuple[NDArray[Any], ...]]]:
        """Run graphs in turn, each on all outputs of the one before.

        Args:
            names: One of ``chains``, or a part of one.
            arrays: What the first one takes.

        Yields:
            Each graph's name and its outputs when it has run, so that a caller can time it.
        """
        values, fixed = arrays, self._is_window(names[0], arrays[0].shape)
        for name in names:
            with self._graph(name, fixed=fixed).request() as request:
                values = tuple(value.copy() for value in self._run(name, request, values))
            yield name, values

    def _chain(self, names: tuple[str, ...], arrays: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """What the last of several graphs gives; between them nothing is copied."""
        return self._continued(names, arrays, self._is_window(names[0], arrays[0].shape))

    def _continued(
        self, names: tuple[str, ...], values: tuple[NDArray[Any], ...], fixed: bool
    ) -> tuple[NDArray[Any], ...]:
        """Go on while the requests before, whose memory holds ``values``, are still ours."""
        if not names:
            return tuple(value.copy() for value in values)
        with self._graph(names[0], fixed=fixed).request() as request:
            return self._continued(names[1:], self._run(names[0], request, values), fixed)

    def _run(self, name: str, request: Any, values: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """One graph on arrays; its outputs are the request's own memory."""
        feed = {tensor.name: value for tensor, value in zip(self._graph_signatures[name].inputs, values, strict=True)}
        try:
            results = request.infer(feed, share_inputs=True, share_outputs=True)
            made = tuple(results[tensor.name] for tensor in self._graph_signatures[name].outputs)
            if len(made[0]) != len(values[0]):  # what it cannot compute with lengths open may come back empty
                raise BackendError(f"it gave {list(made[0].shape)}")
            return made
        except Exception as error:  # whatever the layer below raised
            shapes = ", ".join(str(list(value.shape)) for value in values)
            raise BackendError(f"OpenVINO could not run {name} on {shapes}: {error}") from error

    def _is_window(self, graph: str, shape: tuple[int, ...]) -> bool:
        """Whether what a graph is given first is of one of the model's own windows."""
        return not self._streams and shape == self._graph_signatures[graph].inputs[0].shape(self._sizes)

    def _graph(self, name: str, *, fixed: bool) -> _Compiled:
        with self._lock:
            if (name, fixed) not in self._graphs:
                self._graphs[name, fixed] = _Compiled(self._compile(name, fixed=fixed))
            return self._graphs[name, fixed]

    def _compile(self, name: str, *, fixed: bool) -> Any:
        file, digest = self._bundle.graph_key(name, self._variant)
        inputs = self._graph_signatures[name].inputs
        shapes = {tensor.name: list(tensor.shape(self._sizes)) for tensor in inputs} if fixed else None
        hint = self._hint if self._is_network(name) else "f32"
        config = {
            "INFERENCE_NUM_THREADS": self._threads * self._calls,
            "NUM_STREAMS": self._calls,
            "INFERENCE_PRECISION_HINT": hint,
            # Pinned threads of several graphs would all sit on the first CPUs.
            "ENABLE_CPU_PINNING": False,
        }
        facts = {
            "graph": digest,
            "form": FORM if self._is_rewritten(name) else "as exported",
            "shapes": shapes,
            "precision": hint,
            "openvino": import_openvino().__version__,
            "processor": this_processor().key,
        }
        data = self._bundle.graph(name, self._variant)
        claim_threads()
        try:
            return compiled(self._core, lambda: self._model(name, data, shapes), facts=facts, config=config)
        except Exception as error:
            raise BundleError(f"OpenVINO cannot compile {file} of {self._bundle.path}: {error}") from error

    @property
    def _variant(self) -> str:
        """The precision whose graphs are read: bfloat16 is computed from those of float32."""
        return INT8 if self.precision == INT8 else FLOAT32

    def _is_network(self, name: str) -> bool:
        """Whether a graph is a network and nothing besides, which may be computed in bfloat16."""
        return self._bundle.spec.networks_apart and name in self._bundle.spec.reduced

    def _is_rewritten(self, name: str) -> bool:
        """Whether a graph is faster in the form of ``layout``.

        Graphs of open lengths with transforms in them are so only where products of 8-bit matrices are slow.
        """
        slow = self.precision == INT8 and not this_processor().multiplies_bytes
        return self._is_network(name) or (slow and name in self._bundle.spec.reduced)

    def _model(self, name: str, data: bytes, shapes: dict[str, list[int]] | None) -> Any:
        """A graph as it is to be compiled."""
        model = self._core.read_model(data)
        if self._is_rewritten(name):
            channels_first(import_openvino(), model)
        if shapes is not None:
            model.reshape(shapes)
        return model


class _Compiled:
    """A compiled graph and its requests, each of which one caller at a time may use."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: list[Any] = []

    @contextmanager
    def request(self) -> Iterator[Any]:
        """A request of one's own; several callers run at once."""
        try:
            request = self._idle.pop()  # of a list, so atomic
        except IndexError:
            request = self._model.create_infer_request()
        yield request
        self._idle.append(request)  # one that failed is left to the collector


def capabilities(core: Any) -> set[str]:
    """What the processor has instructions for, in OpenVINO's words: ``BF16``, ``INT8``.

    OpenVINO asks the processor alone, and then fails where oneDNN's own switch forbids what it found.
    """
    held = set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return held if this_processor().allows_bfloat16 else held - {_BF16}


def candidates(bundle: Bundle, core: Any) -> tuple[str, ...]:
    """What the processor computes this model in, the fastest first, of the precisions that its export advises."""
    able = capabilities(core)
    integers = "INT8" in able and INT8 in bundle.precisions and bundle.variant(INT8)["judgement"]["advised"]
    halves = _BF16 in able and bundle.spec.networks_apart
    return (*((INT8,) if integers else ()), *((BFLOAT16,) if halves else ()), FLOAT32)


def open_openvino(
    bundle: Bundle,
    *,
    precision: str = AUTO,
    threads: int | None = None,
    calls: int = 1,
    reason: str = "asked for",
    unproven: bool = False,
) -> OpenVinoBackend:
    """OpenVINO in a precision that is right on this processor.

    Args:
        bundle: The model.
        precision: ``auto`` takes 8-bit integers where the processor has instructions for them and the bundle's export
            judged them good, else bfloat16 where the processor has it, else float32; what misses the bundle's proof
            here, or ``AUTO_AGREEMENT``, is passed over.
        threads: CPU threads for one call; those this process may use where None.
        calls: Calls that run side by side; more take turns.
        reason: Why this backend was taken.
        unproven: Believe a reduced precision without a proof.

    Raises:
        BackendError: OpenVINO is not installed, the processor has no bfloat16, or the precision that was asked for
            misses the bundle's proof.
        BundleError: The bundle has no graphs of that precision, or no proof.
    """
    openvino, core = import_openvino(), open_core()
    if precision == INT8:
        bundle.variant(INT8)
    if precision == BFLOAT16 and not bundle.spec.networks_apart:
        raise BackendError(
            f"a {bundle.spec.family} model has transforms and code search in the graphs of its network, which bfloat16 "
            "would spoil; take --precision float32 or int8"
        )
    if precision == BFLOAT16 and _BF16 not in capabilities(core):
        raise BackendError("this processor has no bfloat16 instructions; take --precision float32 or int8")
    passed_over: list[str] = []
    for each in candidates(bundle, core) if precision == AUTO else (precision,):
        backend = OpenVinoBackend(bundle, core, precision=each, threads=threads, calls=calls, reason=reason)
        try:
            if each != FLOAT32 and not unproven:
                runtime = f"OpenVINO {openvino.__version__}"
                backend.verdict = proven(bundle, backend, runtime=runtime, processor=this_processor())
                if precision == AUTO and backend.verdict.agreement < AUTO_AGREEMENT:
                    raise BackendError(
                        f"{each} is not taken unasked: {backend.verdict.agreement:.1%} of its codes are "
                        f"those of float32, and {AUTO_AGREEMENT:.0%} are asked for"
                    )
        except ApcodecError as error:
            backend.close()
            if precision != AUTO:
                raise
            passed_over.append(str(error))
            continue
        if precision == AUTO:
            backend.reason = "; ".join([reason, f"{each} is the fastest precision that is right here", *passed_over])
        return backend
    raise AssertionError("float32 is always right")
