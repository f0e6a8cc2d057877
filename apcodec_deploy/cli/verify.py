"""``apcodec verify``: hold the results of ``apcodec transcode`` against their manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, progress_bar, result, say
from apcodec_deploy.cli.units import counted
from apcodec_deploy.codec import Codec, load
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.transcoding import verification
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.verification import Verification, history_of


def verify(
    folder: Annotated[
        Path, typer.Argument(help="A folder that 'apcodec transcode' wrote.", metavar="OUT_DIR", readable=False)
    ],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every file, too.")] = False,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
    engines: shared.Engines = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time. Default: one per CPU.")
    ] = None,
    threads: shared.Threads = None,
    json: shared.Json = False,
) -> None:
    """Check a folder of results against its manifest: every file is there, whole, unchanged and of the right model.

    The exit code is 1 if one is not. Files that failed to convert are listed, and so are files that are not in the
    manifest.
    """
    history = history_of(folder)
    side_by_side = jobs or available_cpus()
    if deep:
        with load(model, backend, device=device, precision=precision, threads=threads, engines=engines) as codec:
            found = _run(folder, history, side_by_side, codec)
    else:
        found = _run(folder, history, side_by_side, None)
    _report(found, json=json)


def _run(folder: Path, history: History, jobs: int, codec: Codec | None) -> Verification:
    with progress_bar() as bar:
        task = bar.add_task("checking", total=len(history.done))
        return verification.verify(
            folder, history, codec=codec, jobs=jobs, progress=lambda: bar.update(task, advance=1)
        )


def _report(found: Verification, *, json: bool) -> None:
    for output, problem in found.problems.items():
        say(f"{output} {problem}")
    for source, reason in found.failed.items():
        say(f"not converted: {reason if source in reason else f'{source}: {reason}'}")
    for name in found.unknown:
        say(f"not in the manifest: {name}")
    if json:
        print_json(found.to_dict())
    else:
        counts = [f"{counted(found.checked, 'file')} checked", counted(len(found.problems), "problem")]
        counts += [f"{len(found.failed)} not converted"] * bool(found.failed)
        counts += [f"{len(found.unknown)} unknown"] * bool(found.unknown)
        result(", ".join(counts))
    if found.problems:
        raise typer.Exit(1)
