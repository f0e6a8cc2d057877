"""What a backend is, and which one is taken.

Shapes: B clips of one length, N samples, Q codebooks, L latents.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError

AUTO = "auto"


class Backend(Protocol):
    """Runs a model on a batch of equal lengths. Safe to call from several threads at once.

    Attributes:
        name: What the user calls it.
        reason: Why it was taken.
        batch_limit: The most clips it wants at a time.
    """

    name: str
    reason: str
    batch_limit: int

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        """Code audio (B, N), N at least ``spec.min_samples``: codes (B, Q, L)."""

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Decode codes (B, Q, L), all of them in range: audio (B, L x samples_per_latent), untrimmed."""

    def prepare(self, *, encode: bool, decode: bool) -> None:
        """Load what is needed for one direction or both, which else happens at first use."""

    def close(self) -> None:
        """Free what it holds; it is loaded again where it is used after."""


def create(bundle: Bundle, name: str = AUTO, *, threads: int | None = None) -> Backend:
    """Make the backend of a name, or the fastest that works here.

    Args:
        bundle: The model.
        name: ``auto`` or ``onnxruntime``.
        threads: CPU threads for one call; the CPUs this process may use where None.

    Raises:
        BackendError: There is no such backend, or no such number of threads.
    """
    from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend

    if threads is not None and (type(threads) is not int or threads < 1):
        raise BackendError(f"{threads!r} threads; a whole number from 1 on is expected")
    if name not in (AUTO, OnnxRuntimeBackend.name):
        raise BackendError(f"no backend is called {name!r}; there are: {AUTO}, {OnnxRuntimeBackend.name}")
    reason = "the only backend of this version" if name == AUTO else "asked for"
    return OnnxRuntimeBackend(bundle, reason=reason, threads=threads)
