"""OpenVINO, without its telemetry.

Its import alone writes an identifier and a queue of events into the user's home, through a package of its own that it
works without. A tool for private recordings does not: that package cannot be imported meanwhile. Import OpenVINO from
here, and no sooner than it is needed: it is optional.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from apcodec_deploy.errors import BackendError
from apcodec_deploy.forks import refusal

_TELEMETRY = "openvino_telemetry"
_with_threads: set[int] = set()
"""The processes, of this one and those it was forked from, that have compiled graphs."""


def import_openvino() -> Any:
    """The module ``openvino``.

    Raises:
        BackendError: It is not installed, or does not load.
    """
    hidden = _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # the import system's own way to say: not there
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        raise BackendError(
            f"OpenVINO does not load ({error}); pip install 'apcodec-deploy[openvino]', or take --backend onnxruntime"
        ) from error
    finally:
        if hidden:
            del sys.modules[_TELEMETRY]


def claim_threads() -> None:
    """To be called before a graph is compiled: OpenVINO keeps threads for all graphs, which a forked child has not.

    Raises:
        BackendError: A process that this one was forked from has compiled graphs; here they would wait for its threads.
    """
    if _with_threads - {os.getpid()}:
        raise refusal("OpenVINO")
    _with_threads.add(os.getpid())
