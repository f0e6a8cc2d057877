"""``apcodec transcode``: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result
from apcodec_deploy.cli.conversion import report, run_tasks
from apcodec_deploy.codec import load
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import Task, plan_folder
from apcodec_deploy.transcoding.naming import CODES, TARGETS


def transcode(
    source: Annotated[
        Path,
        typer.Argument(help="A folder of wav, flac, ogg, opus, mp3 and .apc files.", metavar="IN_DIR", readable=False),
    ],
    output: Annotated[
        Path, typer.Argument(help="Where the same tree of results goes.", metavar="OUT_DIR", readable=False)
    ],
    to: Annotated[str, typer.Option("--to", help=f"What to write: {', '.join(TARGETS)}.")] = "wav",
    subtype: shared.Subtype = None,
    salvage: shared.Salvage = False,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
    engines: shared.Engines = None,
    window: shared.Window = None,
    jobs: shared.Jobs = 1,
    threads: shared.Threads = None,
    overwrite: shared.Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    json: shared.Json = False,
) -> None:
    """Pass a folder of audio through the codec, or turn it into .apc files (--to apc), or such files into audio.

    Sub-folders are mirrored. Outputs that exist are skipped unless --overwrite. A file that fails is listed at the end
    with its reason, the rest is done, and the exit code is 1.
    """
    if to not in TARGETS:
        raise ApcodecError(f"--to {to}: expected one of {', '.join(TARGETS)}")
    if to == CODES and (subtype or salvage):
        raise ApcodecError("--subtype and --salvage are about audio, which --to apc does not write")
    form = None if to == CODES else AudioFormat.of(to, subtype)
    tasks = plan_folder(source, output, to)
    if dry_run:
        _print_plan(tasks, overwrite=overwrite, json=json)
        return
    options = ConversionOptions(form=form, window=window, overwrite=overwrite, salvage=salvage)
    with load(model, backend, device=device, precision=precision, threads=threads, engines=engines) as codec:
        done = run_tasks(codec, tasks, options, jobs=jobs, skip_existing=True)
        about = {"model": codec.fingerprint, "backend": codec.backend.name, "precision": codec.backend.precision}
        report(done, json=json, extra=about)


def _print_plan(tasks: list[Task], *, overwrite: bool, json: bool) -> None:
    """Say what would become of each file.

    Raises:
        typer.Exit: A file cannot be converted, as can be told already.
    """

    def fate(task: Task) -> str:
        if task.problem is not None:
            return "fail"
        return "skip" if os.path.lexists(task.target) and not overwrite else "write"

    if json:
        entries = [
            {"source": str(t.source), "target": str(t.target), "fate": fate(t), "problem": t.problem} for t in tasks
        ]
        print_json({"files": entries})
    else:
        for task in tasks:
            result(f"{fate(task):<6} {task.source} -> {task.problem or task.target}")
    if any(task.problem for task in tasks):
        raise typer.Exit(1)
