"""What a backend is, and what may be asked of one.

Shapes: B clips of one length, N samples, Q codebooks, L latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import BackendError
from apcodec_deploy.precision import AUTO, ON_CPU, ON_GPU, precision_named
from apcodec_deploy.spec import State

ONNXRUNTIME, OPENVINO, TENSORRT = "onnxruntime", "openvino", "tensorrt"
BACKENDS = (AUTO, ONNXRUNTIME, OPENVINO, TENSORRT)
CPU, CUDA = "cpu", "cuda"
MAX_THREADS = 1024
"""What ONNX Runtime can still start; far more hang it for minutes, where no signal is heard."""

Carried = object
"""A stream's state as a backend gave it, for that backend alone: plain arrays (``State``) where it computes on the CPU,
a handle where it keeps them on its device. ``()`` is the state of a new stream, for every backend."""


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

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        """Go on with B streams: ``encode`` or ``decode`` of what comes next in each, and each one's state after it.

        The states that were given stay as they are: what fails can be pushed again. A model without streams has
        empty states only.

        Args:
            direction: ``encode`` or ``decode``.
            rows: Audio of whole tokens, or codes.
            states: One for each row: what a push of this backend gave, plain arrays that were fetched, or ``()`` for a
                new stream. Where it is empty, all are new.

        Raises:
            BackendError: A state is of another model, direction or backend.
        """

    def fetched(self, direction: str, state: Carried) -> State:
        """A stream's state as plain arrays, to be kept or moved elsewhere; any backend of the model goes on from them.

        Raises:
            BackendError: It is the state of another model, direction or backend, or this backend was closed since.
        """

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
        threads: CPU threads for one call, at most ``MAX_THREADS``; the CPUs this process may use where None.
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
        if self.threads is not None and (type(self.threads) is not int or not 1 <= self.threads <= MAX_THREADS):
            raise BackendError(f"{self.threads!r} threads; a whole number from 1 to {MAX_THREADS} is expected")
        if self.name not in BACKENDS:
            raise BackendError(f"no backend is called {self.name!r}; there are: {', '.join(BACKENDS)}")
        if not isinstance(self.device, str):
            raise BackendError(f"no device is called {self.device!r}; there are: auto, cpu, cuda, cuda:1, …")
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
