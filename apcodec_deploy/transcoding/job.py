"""Run conversions side by side, and account for every file."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted, convert
from apcodec_deploy.transcoding.folder import Task

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a file."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one task, and why if it was not done."""

    task: Task
    outcome: Outcome
    converted: Converted | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        done = self.converted or Converted(seconds=0.0)
        return {
            "source": str(self.task.source),
            "target": str(self.task.target),
            "outcome": str(self.outcome),
            "seconds": done.seconds,
            "clipped_samples": done.clipped,
            "gaps": [{"start": gap.start, "stop": gap.stop, "reason": gap.reason} for gap in done.gaps],
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all tasks, in their order."""

    results: tuple[Result, ...]
    elapsed: float

    def of(self, outcome: Outcome) -> list[Result]:
        """The results of one outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio converted."""
        return sum(result.converted.seconds for result in self.results if result.converted)

    @property
    def clipped(self) -> int:
        """Samples clipped."""
        return sum(result.converted.clipped for result in self.results if result.converted)

    @property
    def times_real_time(self) -> float:
        """Seconds of audio per second of work."""
        return self.audio_seconds / self.elapsed if self.elapsed else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "done": len(self.of(Outcome.DONE)),
            "skipped": len(self.of(Outcome.SKIPPED)),
            "failed": len(self.of(Outcome.FAILED)),
            "audio_seconds": self.audio_seconds,
            "elapsed_seconds": self.elapsed,
            "times_real_time": self.times_real_time,
            "clipped_samples": self.clipped,
            "files": [result.to_dict() for result in self.results],
        }


class _Stopped(BaseException):
    """Raised inside a conversion to end it; no ``except Exception`` on its way may hold it up."""


class _UnderWay:
    """Counts the conversions that have begun and not ended."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until there are none."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)


@dataclass(slots=True)
class Progress:
    """Told what happens, from several threads; both calls must be quick.

    Attributes:
        heard: Seconds of audio that were read.
        finished: A file's result.
    """

    heard: Callable[[float], None] = field(default=lambda seconds: None)
    finished: Callable[[Result], None] = field(default=lambda result: None)


def run(
    codec: Codec,
    tasks: Sequence[Task],
    options: ConversionOptions,
    *,
    jobs: int = 1,
    skip_existing: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert files; one that fails does not stop the others.

    Args:
        codec: Used by all jobs at once.
        tasks: What to convert.
        options: How.
        jobs: Conversions at a time.
        skip_existing: Leave outputs alone that exist, and count them as skipped; else that is a failure.
        progress: Told what happens.

    Raises:
        KeyboardInterrupt: After every conversion under way was stopped and its partial output removed.
    """
    progress = progress or Progress()
    stopping = threading.Event()
    under_way = _UnderWay()

    def watch(seconds: float) -> None:
        if stopping.is_set():
            raise _Stopped
        progress.heard(seconds)

    def work(task: Task) -> Result:
        with under_way:
            if stopping.is_set():
                raise _Stopped
            result = _convert(codec, task, options, skip_existing, watch)
        progress.finished(result)
        return result

    begun = time.perf_counter()
    with ThreadPoolExecutor(jobs, thread_name_prefix="transcode") as pool:
        try:
            futures = [pool.submit(work, task) for task in tasks]
            results = tuple(future.result() for future in futures)
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            # An interrupt inside ``submit`` can leave the pool with a thread that it does not know and wait for.
            under_way.wait()
            raise
    return Report(results, time.perf_counter() - begun)


def _convert(
    codec: Codec, task: Task, options: ConversionOptions, skip_existing: bool, watch: Callable[[float], None]
) -> Result:
    if task.problem is not None:
        return Result(task, Outcome.FAILED, reason=task.problem)
    if skip_existing and not options.overwrite and os.path.lexists(task.target):
        return Result(task, Outcome.SKIPPED, reason="the output exists")
    try:
        return Result(task, Outcome.DONE, convert(codec, task.source, task.target, options, watch))
    except ApcodecError as error:
        return Result(task, Outcome.FAILED, reason=str(error))
    except Exception as error:
        _log.exception("converting %s", task.source)
        return Result(task, Outcome.FAILED, reason=f"internal error, please report it: {type(error).__name__}: {error}")
