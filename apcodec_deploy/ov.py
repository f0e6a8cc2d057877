"""OpenVINO, without its telemetry.

Its import alone writes an identifier and a queue of events into the user's home, through a package of its own that it
works without. A tool for private recordings does not: that package cannot be imported meanwhile. Import OpenVINO from
here, and no sooner than it is needed: it is optional. Take its ``Core`` from here, too: there is one for a process.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from typing import Any

from apcodec_deploy.errors import BackendError
from apcodec_deploy.forks import abandon, refusal

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


def open_core() -> Any:
    """OpenVINO's ``Core``, the same one for the life of this process.

    With each ``Core`` comes a stack for signal handlers, which the thread that needs it first gets in the place of its
    own, and which is unmapped when the ``Core`` is freed. Where that happens in another thread, or in another order
    than they were made in, the stack that a thread still has is gone, and the next signal, such as Ctrl-C, crashes the
    process. So ours is never freed, not even at exit.

    Raises:
        BackendError: OpenVINO is not installed, or does not load.
    """
    return _core(import_openvino(), os.getpid())


@cache
def _core(openvino: Any, process: int) -> Any:
    """That of a process; a forked child gets another one."""
    core = openvino.Core()
    abandon(core)
    return core


def claim_threads() -> None:
    """To be called before a graph is compiled: OpenVINO keeps threads for all graphs, which a forked child has not.

    Raises:
        BackendError: A process that this one was forked from has compiled graphs; here they would wait for its threads.
    """
    if _with_threads - {os.getpid()}:
        raise refusal("OpenVINO")
    _with_threads.add(os.getpid())
