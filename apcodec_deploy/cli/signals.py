"""Signals that ask a command to end: Ctrl-C, a scheduler, a terminal that was closed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

import typer

from apcodec_deploy.cli.console import say
from apcodec_deploy.files import unfinished

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
INTERRUPTED = 128 + signal.SIGINT
"""The exit code inside of a command, whichever signal it was; ``Signals.exit_code`` tells which."""
_ECHO_SECONDS = 1.0
"""A signal that follows one so soon is the same wish: a terminal and a parent process may both send it. It would only
break off what the first one began, such as the removal of a partial file."""
READER_GONE = 128 + 13
"""That of a shell's own tools, which SIGPIPE ends without a word. Python ignores that signal, and Windows has none."""


class Signals:
    """Raises ``KeyboardInterrupt`` for a signal that asks for the end; remembers the first, and ignores its echoes."""

    _listening: ClassVar[Signals | None] = None

    def __init__(self) -> None:
        self._first: int | None = None
        self._raised = 0.0

    def listen(self) -> None:
        """Listen from now on. What is ignored stays so, as SIGHUP under ``nohup``, and SIGINT behind ``&``."""
        Signals._listening = self
        for name in _ENDING:
            number = getattr(signal, name, None)  # Windows lacks one
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    @classmethod
    def raise_again(cls) -> None:
        """For a main thread that waits: a signal was heard before, and what was being imported then lost its exception.

        Raises:
            KeyboardInterrupt: So it is.
        """
        if cls._listening is not None and cls._listening._first is not None:
            raise KeyboardInterrupt

    @property
    def heard(self) -> bool:
        """Whether there was one."""
        return self._first is not None

    def exit_code(self, code: int) -> int:
        """The exit code of a command that ended with ``code``: 128 and the signal's number where one ended it.

        So does one that failed after a signal: a package that is being imported may turn what the signal raised into an
        error of its own.
        """
        return 128 + self._first if code and self._first is not None else code

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
        elif time.monotonic() - self._raised < _ECHO_SECONDS:
            return
        self._raised = time.monotonic()
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Say what an interrupt leaves.

    Raises:
        typer.Exit: There was one.
    """
    try:
        yield
    except KeyboardInterrupt:
        left = ", ".join(map(str, unfinished())) or "nothing"
        say(f"stopped; finished files stay, and {left} is left half written")
        raise typer.Exit(INTERRUPTED) from None
