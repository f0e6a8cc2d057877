"""A machine with a simulated GPU and TensorRT, and the real backend on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.tensorrt import TensorRTBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.engines.flavour import FLAVOURS, TensorRT
from apcodec_deploy.engines.store import StoredSet
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.tensorrt import TensorRTModule


class Machine:
    """A simulated machine with engines of a model, the embedded one where none is named."""

    def __init__(
        self,
        stored: StoredSet,
        *,
        bundle: Bundle | None = None,
        rtx: bool = False,
        refuse: str | None = None,
        **options: Any,
    ) -> None:
        self.cuda = Cuda(**options)
        self.module = TensorRTModule(self.cuda, rtx=rtx)
        self.device = PycudaDevice(self.cuda, Library(self.cuda, refuse=refuse), 0)
        self.tensorrt = TensorRT(FLAVOURS["rtx" if rtx else "tensorrt"], self.module)
        self.backend = TensorRTBackend(bundle or Bundle.embedded(), stored, self.tensorrt, self.device)


def one_by_one(backend: OnnxRuntimeBackend, audio: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Codes of rows and what they decode to, each alone."""
    codes = np.concatenate([backend.encode(row[None]) for row in audio])
    return codes, np.concatenate([backend.decode(row[None]) for row in codes])


def agree(machine: Machine, audio: NDArray[np.float32], reference: OnnxRuntimeBackend) -> None:
    """The backend gives what the reference gives; joined graphs may round the last bit differently."""
    codes, decoded = one_by_one(reference, audio)
    found = machine.backend.encode(audio)
    assert (found.shape, found.dtype) == (codes.shape, np.int32)
    assert (found == codes).mean() > 0.995
    heard = machine.backend.decode(codes)
    assert (heard.shape, heard.dtype) == (decoded.shape, np.float32)
    np.testing.assert_allclose(heard, decoded, rtol=0, atol=1e-5)
