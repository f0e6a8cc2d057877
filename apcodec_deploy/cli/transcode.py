"""``apcodec transcode``: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result, say
from apcodec_deploy.cli.conversion import report, run_tasks
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import Task, plan_folder
from apcodec_deploy.transcoding.job import JobOptions
from apcodec_deploy.transcoding.listing import plan_list, read_list
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.naming import CODES, TARGETS
from apcodec_deploy.transcoding.pipeline import open_pipeline
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.stats import JobStats


def transcode(
    source: Annotated[
        Path,
        typer.Argument(help="A folder of wav, flac, ogg, opus, mp3 and .apc files.", metavar="IN_DIR", readable=False),
    ],
    output: Annotated[
        Path, typer.Argument(help="Where the same tree of results goes.", metavar="OUT_DIR", readable=False)
    ],
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="LIST",
            help="Only these of IN_DIR: a path a line, or a .csv or .jsonl of path, start, end, name; - for stdin.",
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", help=f"What to write: {', '.join(TARGETS)}.")] = "wav",
    subtype: shared.Subtype = None,
    salvage: shared.Salvage = False,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1; several share the work: cuda:0,cuda:1.")
    ] = "auto",
    engines: shared.Engines = None,
    window: shared.Window = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time; else as many as keep the codec busy.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Most windows of a batch, on a GPU; else what it has room for.")
    ] = None,
    threads: shared.Threads = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds without a byte from a file until it counts as failed.")
    ] = 300.0,
    stats: Annotated[bool, typer.Option("--stats", help="Say where the time went: who waited for whom.")] = False,
    overwrite: shared.Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    json: shared.Json = False,
) -> None:
    """Pass a folder of audio through the codec, or turn it into .apc files (--to apc), or such files into audio.

    Sub-folders are mirrored. OUT_DIR/manifest.jsonl says what was made of what; a run that was stopped or killed goes
    on from there when it is called again, and 'apcodec verify' holds the results against it. Outputs of others are
    left alone unless --overwrite, which makes everything anew. A file that fails is listed at the end with its reason,
    the rest is done, and the exit code is 1.
    """
    if to not in TARGETS:
        raise ApcodecError(f"--to {to}: expected one of {', '.join(TARGETS)}")
    if to == CODES and (subtype or salvage):
        raise ApcodecError("--subtype and --salvage are about audio, which --to apc does not write")
    form = None if to == CODES else AudioFormat.of(to, subtype)
    tasks = plan_folder(source, output, to) if files_from is None else _listed(files_from, source, output, to)
    if dry_run:
        _print_plan(tasks, overwrite=overwrite, json=json)
        return
    options = ConversionOptions(form=form, window=window, overwrite=overwrite, salvage=salvage)
    backend_options = BackendOptions(name=backend, precision=precision, threads=threads, engines=engines)
    pipeline = open_pipeline(model, backend_options, files=len(tasks), devices=device, jobs=jobs, batch=batch)
    with pipeline.codec as codec:
        settings = Settings(
            model=codec.fingerprint,
            backend=codec.backend.name,
            precision=codec.backend.precision,
            to=to,
            subtype=None if form is None else form.subtype,
            window=window,
            salvage=salvage,
        )
        how = JobOptions(jobs=pipeline.jobs, skip_existing=True, patience=timeout)
        with Manifest.open(output, settings, fresh=overwrite) as manifest:
            done = run_tasks(codec, tasks, options, how, manifest=manifest)
    account = JobStats(report=done, jobs=pipeline.jobs, lanes=pipeline.lanes, account=pipeline.backend.account)
    about: dict[str, Any] = {"model": settings.model, "backend": settings.backend, "precision": settings.precision}
    if stats:
        for line in account.lines():
            say(line)
        about["stats"] = account.to_dict()
    report(done, json=json, extra=about)


def _listed(files_from: str, source: Path, output: Path, to: str) -> list[Task]:
    if not source.is_dir():
        raise ApcodecError(f"{source} is no folder; the paths of --files-from are looked for below one")
    return plan_list(read_list(files_from), source, output, to)


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
