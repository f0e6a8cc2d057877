"""ONNX Runtime on the CPU: the default everywhere."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from apcodec_deploy.bundle import GRAPHS, Bundle, fixed_size
from apcodec_deploy.errors import BackendError, BundleError
from apcodec_deploy.machine import available_cpus

ENCODE = ("stft", "encoder", "quantizer")
DECODE = ("dequantizer", "decoder", "istft")
_ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """Runs the six graphs one after the other; each is loaded when it is first needed."""

    name = "onnxruntime"
    batch_limit = 1
    """More clips at a time gain nothing on a CPU and leave its caches."""

    def __init__(self, bundle: Bundle, *, reason: str = "asked for", threads: int | None = None) -> None:
        self.reason = reason
        self._bundle = bundle
        self._threads = available_cpus() if threads is None else threads
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = self._chain(ENCODE, [audio])[0]
        return codes

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        audio: NDArray[np.float32] = self._chain(DECODE, [codes])[0]
        return audio

    def prepare(self, *, encode: bool, decode: bool) -> None:
        for name in ENCODE * encode + DECODE * decode:
            self._session(name)

    def close(self) -> None:
        with self._lock:
            self._sessions.clear()

    def _chain(self, names: tuple[str, ...], arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run graphs in turn, each on all outputs of the one before."""
        for name in names:
            session = self._session(name)
            feed = {value.name: array for value, array in zip(GRAPHS[name].inputs, arrays, strict=True)}
            try:
                arrays = session.run([value.name for value in GRAPHS[name].outputs], feed)
            except Exception as error:  # ONNX Runtime raises its own types, which share no base with ours
                shapes = ", ".join(str(list(array.shape)) for array in arrays)
                raise BackendError(f"ONNX Runtime could not run {name} on {shapes}: {error}") from error
        return arrays

    def _session(self, name: str) -> Any:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = self._load(name)
            return self._sessions[name]

    def _load(self, name: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Three sessions take turns on the same CPUs: a thread that spins after its work slows down the next one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        data = self._bundle.graph(name)
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {name} of {self._bundle.path}: {error}") from error
        self._check(name, session)
        return session

    def _check(self, name: str, session: Any) -> None:
        """Hold a graph's names and sizes against what the bundle says of the model."""
        spec, signature = self._bundle.spec, GRAPHS[name]
        expected = [
            (value.name, [dim or fixed_size(value.name, spec) for dim in value.dims])
            for value in (*signature.inputs, *signature.outputs)
        ]
        found = [(value.name, list(value.shape)) for value in (*session.get_inputs(), *session.get_outputs())]
        if found != expected:
            raise BundleError(
                f"{name} of {self._bundle.path} has {found}, its model.json says {expected}; "
                "export the checkpoint again"
            )
