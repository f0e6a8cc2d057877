"""Follows one conversion: how far it is, what it is at, and how long it has been at what."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

Block = TypeVar("Block")


class Stage(StrEnum):
    """What a conversion can be at."""

    READING = "reading"
    CODING = "coding"
    """Resampling, waiting for the codec, and the codec."""
    WRITING = "writing"


class Watch:
    """Told by one conversion what it does; may be asked from another thread.

    Attributes:
        seconds: Seconds spent in each stage so far.
    """

    def __init__(self, heard: Callable[[float], None] = lambda seconds: None) -> None:
        """Begin, in the stage of coding.

        Args:
            heard: Told the seconds of audio that each step brought the conversion forward; may raise to stop it.
        """
        self.heard = heard
        self.seconds = dict.fromkeys(Stage, 0.0)
        self._now: tuple[Stage, float] = (Stage.CODING, time.perf_counter())

    @contextmanager
    def during(self, stage: Stage) -> Iterator[None]:
        """The stage of what is done inside; after it, that of before."""
        before, _ = self._now
        self._turn_to(stage)
        try:
            yield
        finally:
            self._turn_to(before)

    def each(self, stage: Stage, blocks: Iterable[Block]) -> Generator[Block, None, None]:
        """The same blocks; making them counts as ``stage``. Closed, it closes what makes them."""
        iterator = iter(blocks)
        try:
            while True:
                with self.during(stage):
                    try:
                        block = next(iterator)
                    except StopIteration:
                        return
                yield block
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    def alive(self) -> None:
        """Tell of a step within a stage, so that a long one does not look like one that stalls; may raise to stop."""
        self._turn_to(self._now[0])
        self.heard(0.0)

    def stalled(self, stage: Stage, seconds: float) -> bool:
        """Whether a stage has lasted longer than so many seconds by now."""
        now, since = self._now
        return now == stage and time.perf_counter() - since > seconds

    def _turn_to(self, stage: Stage) -> None:
        now, since = self._now
        moment = time.perf_counter()
        self.seconds[now] += moment - since
        self._now = (stage, moment)
