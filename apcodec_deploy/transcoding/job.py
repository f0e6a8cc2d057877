"""Run conversions side by side, and account for every file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError, OutputError
from apcodec_deploy.files import partial_path, put_in_place
from apcodec_deploy.transcoding.conversion import ConversionOptions, convert
from apcodec_deploy.transcoding.desk import Desk, Stopped
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.making import Made, make, record_of
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.report import EXISTS, Outcome, Report, Result
from apcodec_deploy.transcoding.watch import Stage, Watch
from apcodec_deploy.workers import Worker, join_all

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
"""How often the one who waits looks for conversions that stall."""
_END_SECONDS = 1.0
"""How long it may take threads to end that have nothing to do any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job goes about its files.

    Attributes:
        jobs: Conversions at a time.
        skip_existing: Leave outputs alone that exist, and count them as skipped; else that is a failure.
        patience: Seconds that one block of a file may take to read before the file counts as failed and another one
            is begun in its place; None waits for ever.
    """

    jobs: int = 1
    skip_existing: bool = False
    patience: float | None = None


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
    how: JobOptions | None = None,
    *,
    manifest: Manifest | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert files; one that fails does not stop the others.

    Args:
        codec: Used by all conversions at once.
        tasks: What to convert.
        options: Into what.
        how: One after the other where None.
        manifest: What was done before, and where to record what is done now.
        progress: Told what happens.

    Raises:
        KeyboardInterrupt: After every conversion under way was stopped and its partial output removed, but for those
            that wait in vain for their file; a second one does not wait for that.
    """
    how = how or JobOptions()
    progress = progress or Progress()
    desk = Desk(tasks, progress.heard)

    def work() -> None:
        while (place := desk.take()) is not None:
            try:
                result = _Attempt(codec, place.task, options, how, manifest, place.watch, place.commit).result()
            except Stopped:
                desk.leave(place)
            else:
                if desk.put(place, result):
                    progress.finished(result)

    workers: list[Worker] = []

    def hire() -> None:
        workers.append(Worker(work, "transcode"))
        workers[-1].start()

    begun = time.perf_counter()
    try:
        for _ in range(min(how.jobs, len(tasks))):
            hire()
        while not desk.wait(_LOOK_SECONDS):
            for place in desk.stalled(Stage.READING, how.patience):
                reason = f"{place.task.source} gave nothing for {how.patience:g} s; its reader was left behind"
                result = Result(place.task, Outcome.FAILED, reason=reason)
                if desk.give_up(place, result):
                    progress.finished(result)
                    hire()
    except BaseException:
        desk.stop()
        raise
    finally:
        join_all(workers, _END_SECONDS)
    return Report(desk.results(), time.perf_counter() - begun, desk.seconds)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One file of a job: whether it has to be converted, the conversion, and its record."""

    codec: Codec
    task: Task
    options: ConversionOptions
    how: JobOptions
    manifest: Manifest | None
    watch: Watch
    commit: Callable[[], None]

    def result(self) -> Result:
        """Convert the file, if need be; what fails is a result, too."""
        begun = time.perf_counter()
        try:
            if self.task.problem is not None:
                return self._failed(self.task.problem, begun)
            if (settled := settled_before(self.task, self.options, self.how, self.manifest)) is not None:
                return settled
            if self.manifest is not None:
                made = make(self.codec, self.task, self.options, self.manifest.name(self.task.target), self.watch)
                try:
                    self.commit()
                except Stopped:
                    partial_path(self.task.target).unlink(missing_ok=True)
                    raise
                return committed(self.task, made, self.options, self.manifest)
            converted = convert(
                self.codec, self.task.source, self.task.target, self.options, self.watch, span=self.task.span
            )
            return Result(self.task, Outcome.DONE, converted)
        except ApcodecError as error:
            return self._failed(str(error), begun)
        except Exception as error:
            _log.exception("converting %s", self.task.source)
            return self._failed(f"internal error, please report it: {type(error).__name__}: {error}", begun)

    def _failed(self, reason: str, begun: float) -> Result:
        """A failure, on record where that can be written."""
        if self.manifest is not None:
            name = self.manifest.name(self.task.target)
            with suppress(OutputError):  # the disk may be full, which may be why this file failed
                self.manifest.append(record_of(self.codec, self.task, self.options, name, begun, error=reason))
        return Result(self.task, Outcome.FAILED, reason=reason)


def settled_before(task: Task, options: ConversionOptions, how: JobOptions, manifest: Manifest | None) -> Result | None:
    """What became of a file before, where nothing is to be done.

    Raises:
        ApcodecError: Its source cannot be read, or its place holds the result of another one.
    """
    target = task.target
    if manifest is not None and manifest.done(target, task.source, task.span) is not None:
        return Result(task, Outcome.SKIPPED, reason="it was done before")
    if not how.skip_existing or options.overwrite or not os.path.lexists(target):
        return None
    if manifest is not None and manifest.owns(target):
        return None
    return Result(task, Outcome.SKIPPED, reason=EXISTS)


def committed(task: Task, made: Made, options: ConversionOptions, manifest: Manifest) -> Result:
    """Record what was made, and put it in its place.

    Raises:
        OutputError: Either cannot be written.
    """
    if made.converted is None:
        with suppress(OutputError):
            manifest.append(made.record)
        return Result(task, Outcome.FAILED, reason=made.record.error)
    try:
        manifest.append(made.record)
    except OutputError:
        partial_path(task.target).unlink(missing_ok=True)
        raise
    put_in_place(task.target, overwrite=options.overwrite or manifest.owns(task.target))
    return Result(task, Outcome.DONE, made.converted)
