"""``apcodec encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.conversion import affordable_jobs, report, run_tasks
from apcodec_deploy.cli.outputs import tasks_for
from apcodec_deploy.cli.standard import encode_standard, is_standard
from apcodec_deploy.codec import load
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.job import JobOptions
from apcodec_deploy.transcoding.naming import CODES


def encode(
    inputs: Annotated[list[Path], typer.Argument(help="Audio files.", metavar="IN...", readable=False)],
    output: shared.Output = None,
    model: shared.Model = None,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
    engines: shared.Engines = None,
    window: shared.Window = None,
    live: Annotated[
        bool, typer.Option("--live", help="Write codes as soon as they exist. It takes a streamable model.")
    ] = False,
    jobs: shared.Jobs = 1,
    threads: shared.Threads = None,
    overwrite: shared.Overwrite = False,
    json: shared.Json = False,
) -> None:
    """Turn audio files into codes. a.flac becomes a.flac.apc, beside the source or in the folder given with -o.

    IN may be - for standard input: wav, flac, mp3 and others, for example from 'ffmpeg -i FILE -f wav -'. With -o -
    the codes go to standard output.

    With --live, codes are written while the audio comes: arecord | apcodec encode - -o - --live. Small pieces cost more
    bytes than large ones, which the guide about live streams counts. The model must be of the family apcodec-s.
    """
    if live and (jobs > 1 or json):
        raise ApcodecError("--live codes one stream, and reports nothing: leave --jobs and --json away")
    standard = live or is_standard(inputs, output)
    tasks = [] if standard else tasks_for(inputs, output, CODES)
    options = ConversionOptions(form=None, window=window, overwrite=overwrite)
    with load(model, backend, device=device, precision=precision, threads=threads, engines=engines) as codec:
        if standard:
            encode_standard(codec, inputs, output, options, live=live)
        else:
            report(run_tasks(codec, tasks, options, JobOptions(jobs=affordable_jobs(codec, jobs, window))), json=json)
