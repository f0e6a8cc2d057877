"""What ``encode``, ``decode`` and ``transcode`` share: load, run with a progress bar, report, exit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.progress import Progress as Bar

from apcodec_deploy.cli.console import print_json, progress_bar, result, say
from apcodec_deploy.codec import Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.job import JobOptions, Progress, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.report import Outcome, Report, Result

_INTERRUPTED = 130


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


@contextmanager
def watched(files: int) -> Iterator[Progress]:
    """A progress bar of so many files around a job, and words when it is interrupted.

    Raises:
        typer.Exit: After Ctrl-C.
    """
    try:
        with progress_bar() as bar:
            yield _progress(bar, files)
    except KeyboardInterrupt:
        say("stopped; finished files stay, and nothing is left half written")
        raise typer.Exit(_INTERRUPTED) from None


def _progress(bar: Bar, files: int) -> Progress:
    task = bar.add_task("starting", total=files)
    lock = threading.Lock()
    seconds = 0.0

    def heard(more: float) -> None:
        nonlocal seconds
        with lock:
            seconds += more
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{seconds / elapsed:.1f} x real time" if elapsed else ""
            bar.update(task, description=f"{seconds / 3600:.2f} h of audio, {speed}")

    def finished(_: Result) -> None:
        bar.update(task, advance=1)

    return Progress(heard=heard, finished=finished)


def report(done: Report, *, json: bool, extra: dict[str, Any] | None = None) -> None:
    """Print what became of every file and exit with 1 if one failed.

    Raises:
        typer.Exit: A file failed.
    """
    for each in done.of(Outcome.DONE):
        for gap in each.converted.gaps if each.converted else ():
            say(f"{each.task.source}: latents {gap.start} to {gap.stop} are lost: {gap.reason}")
    failed = done.of(Outcome.FAILED)
    if failed:
        say(f"{len(failed)} of {len(done.results)} files failed:")
        for each in failed:
            reason = str(each.reason)
            # Most reasons name their file already.
            say(f"  {reason}" if str(each.task.source) in reason else f"  {each.task.source}: {reason}")
    if done.clipped:
        say(f"{done.clipped} samples were beyond full scale and clipped; --subtype FLOAT keeps them")
    if json:
        print_json({**(extra or {}), **done.to_dict()})
    else:
        counts = [f"{len(done.of(outcome))} {outcome}" for outcome in Outcome if done.of(outcome)]
        result(
            f"{', '.join(counts)}; {done.audio_seconds / 3600:.3f} h of audio in {done.elapsed:.1f} s, "
            f"{done.times_real_time:.1f} x real time"
        )
    if failed:
        raise typer.Exit(1)
