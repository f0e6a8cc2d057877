"""Make one file's result beside its place, with its record: what a job does on whichever machine, before it commits."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError, AudioError
from apcodec_deploy.files import partially_written
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted, convert_into
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.manifest import now
from apcodec_deploy.transcoding.record import FileRecord, SourceState, checksum
from apcodec_deploy.transcoding.watch import Stage, Watch


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a file so far: a result beside its place, or an error.

    Attributes:
        record: For the manifest.
        converted: What the conversion did, if it did not fail.
    """

    record: FileRecord
    converted: Converted | None = None


def make(codec: Codec, task: Task, options: ConversionOptions, output: str, watch: Watch | None = None) -> Made:
    """Convert a file to ``partial_path`` of its target; what fails is a record, too, and leaves nothing there.

    Args:
        codec: The model.
        task: What to convert, and where its result goes in the end.
        options: Into what.
        output: How the record names the result.
        watch: Told what happens.
    """
    begun = time.perf_counter()
    watch = Watch() if watch is None else watch
    state: SourceState | None = None
    try:
        with watch.during(Stage.READING):
            state = SourceState.of(task.source, watch.alive)
        with partially_written(task.target) as partial:
            converted = convert_into(codec, task.source, partial, options, watch, span=task.span)
            if not state.untouched(task.source):
                raise AudioError(f"{task.source} changed while it was read; run again when it is complete")
            with watch.during(Stage.WRITING), partial.open("rb") as file:
                size, digest = os.fstat(file.fileno()).st_size, checksum(file)
    except ApcodecError as error:
        return Made(record_of(codec, task, options, output, begun, state=state, error=str(error)))
    return Made(
        record_of(codec, task, options, output, begun, state=state, converted=converted, size=size, digest=digest),
        converted,
    )


def record_of(
    codec: Codec,
    task: Task,
    options: ConversionOptions,
    output: str,
    begun: float,
    *,
    state: SourceState | None = None,
    converted: Converted | None = None,
    size: int | None = None,
    digest: str | None = None,
    error: str | None = None,
) -> FileRecord:
    """The record of a file on which work began at ``begun`` of ``time.perf_counter``."""
    return FileRecord(
        source=str(task.source),
        source_bytes=state.size if state else None,
        source_modified_ns=state.modified if state else None,
        source_sha256=state.sha256 if state else None,
        start=task.span.start if task.span else None,
        end=task.span.end if task.span else None,
        samples=converted.samples if converted else None,
        sample_rate=converted.sample_rate if converted else None,
        channels=converted.channels if converted else None,
        model=codec.fingerprint,
        backend=codec.backend.name,
        precision=codec.backend.precision,
        to=options.to,
        output=output,
        bytes=size,
        sha256=digest,
        elapsed=round(time.perf_counter() - begun, 3),
        finished=now(),
        error=error,
    )
