"""Work in a thread of its own, while the main thread listens: so a signal is heard at once, whatever native code is at.

A signal's exception is raised in the main thread. Inside a native library's callback it would be lost there, and while
the library waits for a pipe, or computes, it would wait as well.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from apcodec_deploy.cli.signals import Signals
from apcodec_deploy.errors import ReaderGoneError
from apcodec_deploy.transcoding.desk import Stopped
from apcodec_deploy.transcoding.watch import Watch
from apcodec_deploy.workers import Worker, join_all

Result = TypeVar("Result")
_BLOCK = 1 << 16
_LOOK_SECONDS = 0.5
_PATIENCE = 3.0
"""Seconds that work which is to stop may take for it; then it is left behind, as it waits for somebody else."""


class Feed:
    """Hands on what comes through a descriptor, and ends when it is told to, even where nothing comes.

    Attributes:
        descriptor: Where it can be read.
    """

    def __init__(self, source: int, output: int | None = None) -> None:
        """Open it.

        Args:
            source: Where from.
            output: Where the result goes; once nobody reads that, nothing is handed on.
        """
        self.descriptor, self._target = os.pipe()
        self._reader_gone, self._reader_there = os.pipe()
        self._source, self._output = source, output

    def run(self) -> None:
        """Hand on everything, until it ends or its reader is gone; then close it.

        Raises:
            ReaderGoneError: Nobody reads the output any more.
        """
        try:
            with suppress(BrokenPipeError):
                for block in self._incoming():
                    while block:
                        block = block[os.write(self._target, block) :]
        finally:
            os.close(self._reader_gone)
        self.end()

    def end(self) -> None:
        """Let its reader come to the end."""
        target, self._target = self._target, -1
        if target >= 0:
            os.close(target)

    def blocks(self) -> Iterator[bytes]:
        """For its reader: what comes, as it comes."""
        while block := os.read(self.descriptor, _BLOCK):
            yield block

    def leave(self) -> None:
        """To be called by its reader, which has read enough."""
        os.close(self.descriptor)
        os.close(self._reader_there)

    def _incoming(self) -> Iterator[bytes]:
        """What comes, as it comes, as long as somebody is there for it; a signal is heard meanwhile."""
        while self._wanted():
            if not (block := os.read(self._source, _BLOCK)):
                return
            yield block

    def _wanted(self) -> bool:
        """Wait until something comes; whether its reader is still there."""
        if os.name != "posix":
            return True
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        waiting.register(self._reader_gone, 0)  # that the other end was closed is told unasked
        if self._output is not None:
            waiting.register(self._output, 0)
        # With a timeout, since a signal that comes just before a system call does not end that.
        Signals.raise_again()
        while not (happened := dict(waiting.poll(1000 * _LOOK_SECONDS))):
            Signals.raise_again()
        if self._reader_gone in happened:
            return False
        if self._output in happened:
            raise ReaderGoneError("nobody reads standard output any more")
        return True


def aside(work: Callable[[Watch], Result], feed: Feed | None = None) -> Result:
    """The result of work that is done in a thread of its own.

    Args:
        work: Tells its watch of every step, which stops it after an interrupt.
        feed: What it reads; its end is not to be believed once the watch stops.

    Raises:
        KeyboardInterrupt: There was a signal; the work has stopped, or does not matter any more.
    """
    stopping = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def heard(_: float) -> None:
        if stopping.is_set():
            raise Stopped

    def run() -> None:
        try:
            watch = Watch(heard)
            results.append(work(watch))
            watch.alive()
        except BaseException as error:
            errors.append(error)
        finally:
            if feed is not None:
                feed.leave()

    worker = Worker(run, "aside")
    try:
        worker.start()
        if feed is not None:
            feed.run()
        while worker.is_alive():  # with a timeout, without which no signal is heard on Windows
            Signals.raise_again()
            worker.join(_LOOK_SECONDS)
    except BaseException:
        stopping.set()
        if feed is not None:
            feed.end()
        join_all([worker], _PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]
