"""``apcodec transcode``: the main job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result, say
from apcodec_deploy.cli.conversion import report
from apcodec_deploy.cli.ending import ending
from apcodec_deploy.cli.executors import EXECUTORS, LOCAL, Job, run_here, run_on_cluster
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import Task, plan_folder
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.leftovers import LeftOut
from apcodec_deploy.transcoding.listing import plan_list, read_list
from apcodec_deploy.transcoding.manifest import MANIFEST
from apcodec_deploy.transcoding.naming import ARRAYS, CODES, TARGETS, as_text


def transcode(
    source: Annotated[
        Path,
        typer.Argument(help="A folder of wav, flac, ogg, opus, mp3 and .apc files.", metavar="IN_DIR", readable=False),
    ],
    output: Annotated[
        Path,
        typer.Argument(help="The results go here, in the same tree of folders.", metavar="OUT_DIR", readable=False),
    ],
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="LIST",
            help="Convert only the files of this list: one path a line, or a .csv, .tsv or .jsonl; - is stdin.",
        ),
    ] = None,
    to: Annotated[
        str, typer.Option("--to", help=f"What to write: {', '.join(TARGETS)}. apc and npy are codes.")
    ] = "wav",
    subtype: shared.Subtype = None,
    salvage: shared.Salvage = False,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:1. cuda:0,cuda:1 share the work.")
    ] = "auto",
    engines: shared.Engines = None,
    window: shared.Window = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Files at a time. Default: as many as keep the codec busy."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Windows per batch on a GPU, at most. Default: what fits.")
    ] = None,
    threads: shared.Threads = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="A file that gives no data for so many seconds has failed.")
    ] = 300.0,
    executor: Annotated[
        str, typer.Option("--executor", help="local, or ray for a cluster: one actor per device.")
    ] = LOCAL,
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="Address of the Ray cluster. Default: start one here.")
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Say where the time went: reading, codec or writing.")] = False,
    overwrite: shared.Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be written, and write nothing.")] = False,
    json: shared.Json = False,
) -> None:
    """Convert a folder: audio through the codec to audio, audio to codes (--to apc), or codes back to audio.

    OUT_DIR gets the same sub-folders as IN_DIR. OUT_DIR/manifest.jsonl records every result. Call the same command
    again after a stop or a crash: it goes on where it was. 'apcodec verify OUT_DIR' checks the results later.

    Files in OUT_DIR that another program wrote are never replaced, unless you add --overwrite, which makes everything
    anew. If a file fails, the others are still done. The failed files are listed at the end, and the exit code is 1.
    """
    if to not in TARGETS:
        raise ApcodecError(f"--to {to}: expected one of {', '.join(TARGETS)}")
    if executor not in EXECUTORS:
        raise ApcodecError(f"--executor {executor}: expected one of {', '.join(EXECUTORS)}")
    audio = to not in (CODES, ARRAYS)
    if not audio and (subtype or salvage):
        raise ApcodecError(f"--subtype and --salvage are about audio, which --to {to} does not write")
    form = AudioFormat.of(to, subtype) if audio else None
    left_out = LeftOut()
    try:
        tasks = _planned(files_from, source, output, to, left_out)
    finally:
        for line in left_out.lines():
            say(line)
    if dry_run:
        if os.path.isfile(output / MANIFEST):
            History.read(output / MANIFEST)  # raises what the job would stop at
        _print_plan(tasks, left_out, overwrite=overwrite, json=json)
        return
    options = ConversionOptions(form=form, arrays=to == ARRAYS, window=window, overwrite=overwrite, salvage=salvage)
    job = Job(
        model=model,
        backend=BackendOptions(name=backend, precision=precision, threads=threads, engines=engines),
        devices=device,
        tasks=tasks,
        options=options,
        output=output,
        jobs=jobs,
        batch=batch,
        patience=timeout,
        stats=stats,
    )
    done, about = run_here(job) if executor == LOCAL else run_on_cluster(job, ray_address)
    report(
        done,
        json=json,
        extra={**about, "left_out": left_out.to_list()},
        ending=ending(done, source, output, to, model),
    )


def _planned(files_from: str | None, source: Path, output: Path, to: str, left_out: LeftOut) -> list[Task]:
    if files_from is None:
        return plan_folder(source, output, to, left_out)
    if not os.path.isdir(source):
        raise ApcodecError(f"{source} is no folder; the paths of --files-from are looked for below one")
    return plan_list(read_list(files_from), source, output, to, left_out)


def _print_plan(tasks: list[Task], left_out: LeftOut, *, overwrite: bool, json: bool) -> None:
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
            {
                "source": as_text(str(task.source)),
                "target": as_text(str(task.target)),
                "fate": fate(task),
                "problem": task.problem,
            }
            for task in tasks
        ]
        print_json({"files": entries, "left_out": left_out.to_list()})
    else:
        for task in tasks:
            result(f"{fate(task):<6} {task.source} -> {task.problem or task.target}")
    if any(task.problem for task in tasks):
        raise typer.Exit(1)
