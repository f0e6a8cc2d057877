"""What a fork leaves of a backend: the child has its parent's memory, and none of its threads.

So what runs a model natively works no more in the child, and worse: to free it, as at exit, waits for threads that are
not there. A backend is told in the child (``forked``). It leaves what it held where it is (``abandon``), and loads anew
when it is used, or refuses to be used.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import cache
from typing import Protocol

from apcodec_deploy.errors import BackendError


class Forkable(Protocol):
    """What is told of a fork."""

    def forked(self) -> None:
        """Told in the child, before anything else runs there. Locks may be held by threads that are gone."""


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(backend: Forkable) -> None:
    """Tell a backend when this process is forked, for as long as it lives."""
    _listen()
    _watched.add(backend)


@cache
def _listen() -> None:
    """Ask once to be told; Windows has no forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_tell)


def _tell() -> None:
    for backend in tuple(_watched):
        backend.forked()


def abandon(*held: object) -> None:
    """Never free these: they belong to threads that are gone. One reference too many keeps them even at exit."""
    for each in held:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def refusal(what: str) -> BackendError:
    """The error of a backend that cannot be loaded again in a child."""
    return BackendError(
        f"{what} was used before this process was forked, and does not work after that; load the model only after the "
        "fork, in each child, or start the children by 'spawn' or 'forkserver' (multiprocessing.set_start_method)"
    )
