"""A process that builds one engine: ``python -m apcodec_engines.compiler``, one request on stdin, events on stdout.

A process of its own, because a builder that has failed once can break the builds after it, a crash of native code takes
its whole process with it, and Ctrl-C must stop a build that no Python code can interrupt.

Every line on stdout is a JSON object with one key: ``progress`` (phase, step, steps), ``log`` (severity, text),
``result`` (audit, seconds) or ``error`` (text), of which one of the last two comes last.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import TensorRT, flavour_named
from apcodec_deploy.errors import ApcodecError, BuildError
from apcodec_engines.audit import check_products, layer_types

Emit = Callable[[dict[str, Any]], None]
FLAGS = {"tf32": False}
"""How every builder is set, as the manifest tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to build.

    Attributes:
        flavour: ``tensorrt`` or ``rtx``.
        model: File of the serialized ONNX graph.
        output: File for the engine.
        shapes: For each optimisation profile, the least, usual and greatest shape of each input.
        products: The expected type of each convolution and product.
        compute_capabilities: What to compile for ahead of time, like ``8.9``; empty for the GPU at hand.
        timing_cache: A file of timings to use and renew; None for none.
        device: Number of the GPU to tune on; None where none is needed.
        graphs: Whether the engine must suit the recording of CUDA graphs.
    """

    flavour: str
    model: str
    output: str
    shapes: tuple[dict[str, list[list[int]]], ...]
    products: dict[str, str]
    compute_capabilities: tuple[str, ...] = ()
    timing_cache: str | None = None
    device: int | None = None
    graphs: bool = False

    def to_json(self) -> str:
        """For the process's stdin."""
        return json.dumps(asdict(self))


def compile_engine(tensorrt: TensorRT, request: Request, emit: Emit) -> dict[str, Any]:
    """Parse, audit and build.

    Returns:
        ``audit`` and ``seconds``.

    Raises:
        BuildError: A step failed; what TensorRT said is in the message.
    """
    trt = tensorrt.trt
    logger = tensorrt.logger
    with tensorrt.calls("make a builder"):
        builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(request.model).read_bytes()):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise BuildError(f"{tensorrt.title} cannot parse the graph: {reasons}")
    check_products(network, request.products)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that an engine can tell what its layers became
    if request.graphs and hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # TensorRT-RTX records only engines that allocate nothing themselves.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    config.progress_monitor = _monitor(trt, emit)
    for shapes in request.shapes:
        profile = builder.create_optimization_profile()
        for name, (least, usual, greatest) in shapes.items():
            profile.set_shape(name, least, usual, greatest)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(f"{tensorrt.title} does not take the profile {shapes}: {logger.last}")
    _aim(trt, config, request.compute_capabilities)
    cache = _use_timings(trt, config, request.timing_cache)
    begun = time.monotonic()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(f"{tensorrt.title} could not build the engine: {logger.last or 'it gave no reason'}")
    Path(request.output).write_bytes(plan)
    if cache is not None and request.timing_cache:
        with suppress(OSError):  # the engine is there; only the next build takes longer
            _replace(Path(request.timing_cache), bytes(cache.serialize()))
    return {"audit": layer_types(network), "seconds": round(time.monotonic() - begun, 3)}


def _aim(trt: Any, config: Any, compute_capabilities: tuple[str, ...]) -> None:
    """Compile ahead of time for these generations of GPUs."""
    if not compute_capabilities:
        return
    config.num_compute_capabilities = len(compute_capabilities)
    for index, capability in enumerate(compute_capabilities):
        wanted = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if wanted is None or not config.set_compute_capability(wanted, index):
            raise BuildError(f"TensorRT-RTX does not compile for compute capability {capability}")


def _use_timings(trt: Any, config: Any, file: str | None) -> Any:
    """Let the builder use what it measured in earlier builds; None where that is not asked for or of no use."""
    if file is None:
        return None
    try:
        held = Path(file).read_bytes()
    except OSError:
        held = b""
    cache = config.create_timing_cache(held) or config.create_timing_cache(b"")
    if cache is None or not config.set_timing_cache(cache, False):
        return None
    return cache


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    fresh.write_bytes(data)
    fresh.replace(path)


class _Events(logging.Handler):
    """Passes on what TensorRT logs."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def handle(self, record: logging.LogRecord) -> bool:
        self._emit({"log": {"severity": record.levelname, "text": record.getMessage()}})
        return True


def _monitor(trt: Any, emit: Emit) -> Any:
    """Tell how far each phase of the build is."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            emit({"progress": {"phase": phase, "step": 0, "steps": steps}})

        def step_complete(self, phase: str, step: int) -> bool:
            emit({"progress": {"phase": phase, "step": step + 1, "steps": self.steps.get(phase, step + 1)}})
            return True

        def phase_finish(self, phase: str) -> None:
            steps = self.steps.pop(phase, 1)
            emit({"progress": {"phase": phase, "step": steps, "steps": steps}})

    return Monitor()


def main() -> int:
    """Build what stdin asks for; exit 0 after a result, 1 after an error."""
    # Native code may print: it gets stderr, so that stdout holds our lines alone.
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    held = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = Request(
        **{**held, "shapes": tuple(held["shapes"]), "compute_capabilities": tuple(held["compute_capabilities"])}
    )
    logging.getLogger().addHandler(_Events(emit))
    try:
        tensorrt = flavour_named(request.flavour).load()
        with nullcontext() if request.device is None else open_device(request.device).active():
            emit({"result": compile_engine(tensorrt, request, emit)})
    except ApcodecError as error:
        emit({"error": str(error)})
        return 1
    except (OSError, RuntimeError, MemoryError) as error:  # a full disk, or what TensorRT's bindings raise
        emit({"error": str(error) or type(error).__name__})
        return 1
    return 0


def _end_with_parent() -> None:
    """End when the other side of stdin is gone, however it went: nobody would want the engine."""
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock would be held when the process ends
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
