"""What a backend is, and which one is taken.

Shapes: B clips of one length, N samples, Q codebooks, L latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import driver_library
from apcodec_deploy.errors import ApcodecError, BackendError, DeviceError
from apcodec_deploy.precision import AUTO, BFLOAT16, FLOAT32, ON_CPU, ON_GPU, precision_named

ONNXRUNTIME, OPENVINO, TENSORRT = "onnxruntime", "openvino", "tensorrt"
BACKENDS = (AUTO, ONNXRUNTIME, OPENVINO, TENSORRT)
CPU, CUDA = "cpu", "cuda"
_DEFAULT = f"{ONNXRUNTIME} on the CPU"
"""What nothing has to be built or installed for, and what all others are compared with."""


class Backend(Protocol):
    """Runs a model on a batch of equal lengths. Safe to call from several threads at once.

    Attributes:
        name: What the user calls it.
        reason: Why it was taken.
        precision: What the networks compute in.
        batch_limit: The most clips it wants at a time.
    """

    name: str
    reason: str
    precision: str
    batch_limit: int

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        """Code audio (B, N), N at least ``spec.min_samples``: codes (B, Q, L)."""

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Decode codes (B, Q, L), all of them in range: audio (B, L x samples_per_latent), untrimmed."""

    def prepare(self, *, encode: bool, decode: bool) -> None:
        """Load what is needed for one direction or both, which else happens at first use."""

    def close(self) -> None:
        """Free what it holds; it is loaded again where it is used after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """What the user wants to run on.

    Attributes:
        name: ``auto``, ``onnxruntime``, ``openvino`` or ``tensorrt``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` for another GPU than the first.
        precision: ``auto``, or of the networks; either name of it.
        threads: CPU threads for one call; the CPUs this process may use where None.
        calls: Calls at a time that are to run side by side on the CPU.
        engines: A directory that ``apcodec build --out`` made; the user's cache where None.
        unproven: Believe a reduced precision without holding it against the bundle's proof. For timing a model that
            nobody trained, whose codes are chance.
    """

    name: str = AUTO
    device: str = AUTO
    precision: str = AUTO
    threads: int | None = None
    calls: int = 1
    engines: str | Path | None = None
    unproven: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise BackendError(f"{self.threads!r} threads; a whole number from 1 on is expected")
        if self.name not in BACKENDS:
            raise BackendError(f"no backend is called {self.name!r}; there are: {', '.join(BACKENDS)}")
        kind, colon, index = self.device.partition(":")
        if kind not in (AUTO, CPU, CUDA) or (colon and not (kind == CUDA and index.isdecimal())):
            raise BackendError(f"no device is called {self.device!r}; there are: auto, cpu, cuda, cuda:1, …")
        object.__setattr__(self, "precision", precision_named(self.precision))
        if kind == CPU and self.name == TENSORRT:
            raise BackendError("TensorRT runs on a GPU only; leave out --device cpu")
        if kind == CUDA and self.name == OPENVINO:
            raise BackendError(f"OpenVINO runs on the CPU only here; leave out --device {self.device}")
        if self.engines is not None and (kind == CPU or self.name in (ONNXRUNTIME, OPENVINO)):
            raise BackendError(
                f"--engines are TensorRT's; leave out --device cpu and --backend {ONNXRUNTIME} or {OPENVINO}"
            )
        if self.precision != AUTO and not self.may_be_cpu and not self.may_be_gpu:
            cpu, held = (True, ON_CPU) if kind == CPU or self.name == OPENVINO else (False, ON_GPU)
            raise BackendError(
                f"{self.precision} runs on {'a GPU' if cpu else 'the CPU'} only; "
                f"on {'the CPU' if cpu else 'a GPU'} there is {', '.join(held)}"
            )

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)

    @property
    def chosen(self) -> bool:
        """Whether the choice is ours."""
        return AUTO in (self.name, self.device)

    @property
    def may_be_gpu(self) -> bool:
        """Whether a GPU would do."""
        return self.device != CPU and self.name != OPENVINO and self.precision in (AUTO, *ON_GPU)

    @property
    def may_be_cpu(self) -> bool:
        """Whether the CPU would do."""
        return self.device in (AUTO, CPU) and self.name != TENSORRT and self.precision in (AUTO, *ON_CPU)


def create(bundle: Bundle, options: BackendOptions | None = None) -> Backend:
    """Make the backend that was asked for, or the best that is made ready here.

    Left to us, that is TensorRT where there are engines, else ONNX Runtime on a GPU, else ONNX Runtime on the CPU in
    float32. OpenVINO is never taken unasked: with a package that may have come for another reason, codes would change.

    Args:
        bundle: The model.
        options: ``auto`` in everything where None.

    Raises:
        BackendError: What was asked for does not work here; why not is told.
        EngineError: TensorRT was asked for, and there are no engines that may run here.
    """
    options = options or BackendOptions()
    ways: list[tuple[str, Callable[[str], Backend]]] = []
    failed: list[str] = []
    if options.may_be_cpu and options.may_be_gpu and options.engines is None:
        try:
            driver_library()
        except DeviceError as error:
            options, failed = replace(options, device=CPU), [str(error)]
    if options.may_be_gpu and options.name in (AUTO, TENSORRT):
        ways.append((TENSORRT, lambda reason: _tensorrt(bundle, options, reason)))
    if options.may_be_gpu and options.name in (AUTO, ONNXRUNTIME) and options.engines is None:
        ways.append((f"{ONNXRUNTIME} on CUDA", lambda reason: _onnxruntime_cuda(bundle, options, reason)))
    if options.may_be_cpu and options.engines is None and options.name != OPENVINO and options.precision != BFLOAT16:
        ways.append((_DEFAULT, lambda reason: _onnxruntime(bundle, options, reason)))
    elif options.may_be_cpu and options.engines is None:
        if options.name == ONNXRUNTIME:
            raise BackendError(f"ONNX Runtime has no {BFLOAT16} on the CPU; take --backend {OPENVINO}")
        ways.append((OPENVINO, lambda reason: _openvino(bundle, options, reason)))
    for label, make in ways:
        why = "the default on a CPU" if label == _DEFAULT else "the fastest that works here"
        reason = "; ".join([why if options.chosen else "asked for", *failed])
        try:
            return make(reason)
        except ApcodecError as error:
            if len(ways) == 1:
                raise
            failed.append(f"{label} does not: {error}")
    raise BackendError("no backend works here: " + "; ".join(failed))


def _tensorrt(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.tensorrt import open_tensorrt

    def beyond() -> Backend:
        return create(bundle, replace(options, name=ONNXRUNTIME))

    return open_tensorrt(
        bundle,
        engines=options.engines,
        precision=options.precision,
        device=options.index,
        reason=reason,
        # Where the choice is ours, building engines must not take away what worked without them.
        beyond=beyond if options.name == AUTO and options.engines is None else None,
    )


def _onnxruntime_cuda(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.onnxruntime import open_cuda

    precision = FLOAT32 if options.precision == AUTO else options.precision
    return open_cuda(
        bundle,
        index=options.index,
        precision=precision,
        threads=options.threads,
        reason=reason,
        unproven=options.unproven,
    )


def _onnxruntime(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.onnxruntime import open_cpu

    precision = FLOAT32 if options.precision == AUTO else options.precision
    return open_cpu(bundle, precision=precision, threads=options.threads, reason=reason, unproven=options.unproven)


def _openvino(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.openvino import open_openvino

    return open_openvino(
        bundle,
        precision=options.precision,
        threads=options.threads,
        calls=options.calls,
        reason=reason,
        unproven=options.unproven,
    )
