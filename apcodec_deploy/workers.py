"""Threads of ours. They work natively most of the time, which no exception ends, so a program may have to leave one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable


class Worker(threading.Thread):
    """A thread that does not keep the process alive. Whoever starts one also waits for it (``join_all``)."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._asked = False
        self._done = threading.Event()

    def start(self) -> None:
        self._asked = True
        super().start()

    def run(self) -> None:
        try:
            self._work()
        finally:
            self._done.set()

    def end_within(self, seconds: float) -> None:
        """Wait for its end, no longer than so; also where an interrupt came while it was being started."""
        until = time.monotonic() + seconds
        if self._asked and self._done.wait(max(0.0, seconds)):
            self.join(max(0.0, until - time.monotonic()))


def join_all(workers: Iterable[Worker], seconds: float) -> None:
    """Wait for threads that are about to end, and for what they hold to be freed where it was used; no longer than so.

    A thread that ends while Python itself does may be torn out of native code, and crash it.
    """
    until = time.monotonic() + seconds
    for worker in workers:
        worker.end_within(until - time.monotonic())


def any_left() -> bool:
    """Whether one is still at work, in which case a process should end without taking Python apart (``os._exit``)."""
    return any(isinstance(thread, Worker) for thread in threading.enumerate())
