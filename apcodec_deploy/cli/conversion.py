"""What ``encode``, ``decode`` and ``transcode`` share: load, run with a progress bar, report, exit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress as Bar

from apcodec_deploy.cli.console import print_json, progress_bar, result, say
from apcodec_deploy.cli.signals import interruptible
from apcodec_deploy.cli.units import counted, duration, times
from apcodec_deploy.codec import Codec
from apcodec_deploy.spec import WindowLength
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.job import JobOptions, Progress, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.report import Outcome, Report, Result
from apcodec_deploy.transcoding.room import Room

_NAMED = 10
"""Files that are named of many that were not converted for one reason."""


def run_tasks(
    codec: Codec,
    tasks: Sequence[Task],
    options: ConversionOptions,
    how: JobOptions,
    *,
    manifest: Manifest | None = None,
) -> Report:
    """Run conversions behind a progress bar with files, hours of audio and times real time.

    Raises:
        ApcodecError: The options fit no file.
        typer.Exit: After Ctrl-C.
    """
    codec.layout(options.window)
    with watched(len(tasks)) as progress:
        return run(codec, tasks, options, how, manifest=manifest, progress=progress)


def affordable_jobs(codec: Codec, jobs: int, window: WindowLength) -> int:
    """As many files at a time as were asked for, or as memory has room for, which is said then."""
    room = Room.of(codec.spec, window)
    if (calls := room.calls(jobs)) < jobs:
        say(room.telling(jobs))
    return calls


@contextmanager
def watched(files: int) -> Iterator[Progress]:
    """A progress bar of so many files around a job, and words when it is interrupted.

    Raises:
        typer.Exit: After Ctrl-C.
    """
    with interruptible(), progress_bar() as bar:
        yield _progress(bar, files)


def _progress(bar: Bar, files: int) -> Progress:
    task = bar.add_task("starting", total=files)
    lock = threading.Lock()
    seconds = 0.0

    def heard(more: float) -> None:
        nonlocal seconds
        with lock:
            seconds += more
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{times(seconds / elapsed)} real time" if elapsed else ""
            bar.update(task, description=f"{duration(seconds)} of audio, {speed}")

    def finished(_: Result) -> None:
        bar.update(task, advance=1)

    return Progress(heard=heard, finished=finished)


def report(done: Report, *, json: bool, extra: dict[str, Any] | None = None, ending: Sequence[str] = ()) -> None:
    """Print what became of every file and exit with 1 if one failed.

    Args:
        done: What became of them.
        json: Print it as JSON instead.
        extra: What else the JSON holds.
        ending: Lines that follow.

    Raises:
        typer.Exit: A file failed.
    """
    for each in done.of(Outcome.DONE):
        if each.converted:
            say_gaps(each.task.source, each.converted)
    failed = done.of(Outcome.FAILED)
    if failed:
        say(f"{len(failed)} of {len(done.results)} files failed:")
        for each in failed:
            reason = str(each.reason)
            # Most reasons name their file already.
            say(f"  {reason}" if str(each.task.source) in reason else f"  {each.task.source}: {reason}")
    if barred := [str(each.task.target) for each in done.barred]:
        more = [f"and {len(barred) - _NAMED} more"] if len(barred) > _NAMED else []
        say(
            f"{len(barred)} of {len(done.results)} files not converted, because what stands in their place is no "
            f"result of a job here; move it away, or --overwrite replaces it: {', '.join(barred[:_NAMED] + more)}"
        )
    say_clipped(done.clipped)
    if json:
        print_json({**(extra or {}), **done.to_dict()})
    else:
        result(_summary(done))
        for line in ending:
            result(line)
    if failed:
        raise typer.Exit(1)


def _summary(done: Report) -> str:
    """``4 files done, 1 skipped: 19.4 s of audio in 7.8 s, 2.5 times real time``."""
    first, *others = [(len(done.of(outcome)), outcome) for outcome in Outcome if done.of(outcome)] or [
        (0, Outcome.DONE)
    ]
    counts = [f"{counted(first[0], 'file')} {first[1]}", *(f"{count:,} {outcome}" for count, outcome in others)]
    text = ", ".join(counts)
    if done.of(Outcome.DONE):
        text += f": {duration(done.audio_seconds)} of audio in {duration(done.elapsed)}"
        text += f", {times(done.times_real_time)} real time"
    return text


def say_gaps(source: Path | str, converted: Converted) -> None:
    """Say what salvaging could not read."""
    for gap in converted.gaps:
        lost = f"latents {gap.start} to {gap.stop} are lost: " if gap.stop > gap.start else ""
        say(f"{source}: {lost}{gap.reason}")


def say_clipped(samples: int) -> None:
    """Say how many samples an integer format could not hold, if any."""
    if samples:
        say(f"{samples} samples were beyond full scale and clipped; --subtype FLOAT keeps them")
