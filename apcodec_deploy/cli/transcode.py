"""``apcodec transcode``: the main job."""

from __future__ import annotations

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
        Path, typer.Argument(help="A folder of wav, flac, ogg, opus, mp3 and .apc files.", metavar="IN_DIR")
    ],
    output: Annotated[Path, typer.Argument(help="Where the same tree of results goes.", metavar="OUT_DIR")],
    to: Annotated[str, typer.Option("--to", help=f"What to write: {', '.join(TARGETS)}.")] = "wav",
    subtype: shared.Subtype = None,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
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
    shared.check_device(precision, device)
    if to not in TARGETS:
        raise ApcodecError(f"--to {to}: expected one of {', '.join(TARGETS)}")
    form = None if to == CODES else AudioFormat.of(to, subtype)
    tasks = plan_folder(source, output, to)
    if dry_run:
        _print_plan(tasks, json=json)
        return
    codec = load(model, backend, threads=threads)
    options = ConversionOptions(form=form, window=window, overwrite=overwrite)
    done = run_tasks(codec, tasks, options, jobs=jobs, skip_existing=True)
    report(done, json=json, extra={"model": codec.fingerprint, "backend": codec.backend.name})


def _print_plan(tasks: list[Task], *, json: bool) -> None:
    if json:
        entries = [{"source": str(t.source), "target": str(t.target), "problem": t.problem} for t in tasks]
        print_json({"files": entries})
        return
    for task in tasks:
        result(f"{task.source} -> {task.problem or task.target}")
