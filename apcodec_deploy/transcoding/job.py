"""Run conversions side by side, and account for every file."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError, AudioError, OutputError
from apcodec_deploy.files import partial_path
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted, convert
from apcodec_deploy.transcoding.desk import Desk, Stopped
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.manifest import Manifest, now
from apcodec_deploy.transcoding.naming import CODES
from apcodec_deploy.transcoding.record import FileRecord, SourceState, checksum
from apcodec_deploy.transcoding.report import Outcome, Report, Result
from apcodec_deploy.transcoding.watch import Stage, Watch

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
"""How often the one who waits looks for conversions that stall."""


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
        KeyboardInterrupt: After every conversion under way was stopped and its partial output removed; a second one
            does not wait for that.
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

    def hire() -> None:
        threading.Thread(target=work, name="transcode", daemon=True).start()

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
        state: SourceState | None = None
        try:
            if self.task.problem is not None:
                return self._failed(self.task.problem, None, begun)
            if (settled := self._settled()) is not None:
                return settled
            if self.manifest is None:
                converted = convert(
                    self.codec, self.task.source, self.task.target, self.options, self.watch, span=self.task.span
                )
                return Result(self.task, Outcome.DONE, converted)
            with self.watch.during(Stage.READING):
                state = SourceState.of(self.task.source)
            return self._recorded(self.manifest, state, begun)
        except ApcodecError as error:
            return self._failed(str(error), state, begun)
        except Exception as error:
            _log.exception("converting %s", self.task.source)
            reason = f"internal error, please report it: {type(error).__name__}: {error}"
            return self._failed(reason, state, begun)

    def _settled(self) -> Result | None:
        """What became of the file before, where nothing is to be done."""
        target = self.task.target
        if self.manifest is not None and self.manifest.done(target, self.task.source, self.task.span) is not None:
            return Result(self.task, Outcome.SKIPPED, reason="it was done before")
        if not self.how.skip_existing or self.options.overwrite or not os.path.lexists(target):
            return None
        if self.manifest is not None and self.manifest.owns(target):
            return None
        return Result(self.task, Outcome.SKIPPED, reason="the output exists")

    def _recorded(self, manifest: Manifest, state: SourceState, begun: float) -> Result:
        """Convert, and record the result between its last byte and its taking place."""
        task = self.task

        def seal(partial: Path, converted: Converted) -> None:
            if not state.untouched(task.source):
                raise AudioError(f"{task.source} changed while it was read; run again when it is complete")
            record = self._record(manifest, state, begun, made=(partial, converted))
            self.commit()
            manifest.append(record)

        options = replace(self.options, overwrite=self.options.overwrite or manifest.owns(task.target))
        converted = convert(
            self.codec,
            task.source,
            task.target,
            options,
            self.watch,
            span=task.span,
            temporary=partial_path(task.target),
            seal=seal,
        )
        return Result(task, Outcome.DONE, converted)

    def _failed(self, reason: str, state: SourceState | None, begun: float) -> Result:
        """A failure, on record where that can be written."""
        if self.manifest is not None:
            with suppress(OutputError):  # the disk may be full, which is why this file failed
                self.manifest.append(self._record(self.manifest, state, begun, error=reason))
        return Result(self.task, Outcome.FAILED, reason=reason)

    def _record(
        self,
        manifest: Manifest,
        state: SourceState | None,
        begun: float,
        *,
        made: tuple[Path, Converted] | None = None,
        error: str | None = None,
    ) -> FileRecord:
        size = digest = converted = None
        if made is not None:
            partial, converted = made
            with partial.open("rb") as file:
                size, digest = os.fstat(file.fileno()).st_size, checksum(file)
        return FileRecord(
            source=str(self.task.source),
            source_bytes=state.size if state else None,
            source_modified_ns=state.modified if state else None,
            source_sha256=state.sha256 if state else None,
            start=self.task.span.start if self.task.span else None,
            end=self.task.span.end if self.task.span else None,
            samples=converted.samples if converted else None,
            sample_rate=converted.sample_rate if converted else None,
            channels=converted.channels if converted else None,
            model=self.codec.fingerprint,
            backend=self.codec.backend.name,
            precision=self.codec.backend.precision,
            to=CODES if self.options.form is None else self.options.form.name,
            output=manifest.name(self.task.target),
            bytes=size,
            sha256=digest,
            elapsed=round(time.perf_counter() - begun, 3),
            finished=now(),
            error=error,
        )
