"""ONNX Runtime, without its telemetry.

From 1.32 on its import alone writes a device id and a queue of events about the process into the user's home. A tool
for private recordings does not; who wants it sets ``ORT_DISABLE_TELEMETRY=0``. Import ONNX Runtime from here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["cuda_trouble", "onnxruntime", "preload_cuda", "session_options"]
_CUDA_LIBRARIES = ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll")
_ERRORS_ONLY = 3


def session_options(threads: int = 0) -> Any:
    """Options that all our sessions share.

    Their threads do not spin after their work: sessions take turns on the same CPUs, with each other and with whatever
    else the machine does, and a thread that spins slows down the next one.

    Args:
        threads: For one call; 0 lets ONNX Runtime take all CPUs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@cache
def preload_cuda() -> None:
    """Load CUDA and cuDNN from the packages that bring them, where the system's loader does not look.

    What is missing ONNX Runtime prints, and its provider does not load then, which is found where it is used. Of what
    else it would log before there is a session, only errors are heard: it warns of things that nobody asked for.
    """
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    with redirect_stdout(sys.stderr):
        onnxruntime.preload_dlls()


def cuda_trouble() -> str:
    """Why the CUDA provider's library does not load, in the loader's words; empty where it does, or is not there.

    ONNX Runtime only logs it.
    """
    for name in _CUDA_LIBRARIES:
        library = Path(str(onnxruntime.__file__)).parent / "capi" / name
        if library.exists():
            try:
                ctypes.CDLL(str(library))
            except OSError as error:
                return str(error)
    return ""
