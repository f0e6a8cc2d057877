"""``apcodec decode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.audio.writer import FORMATS, AudioFormat
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.conversion import affordable_jobs, report, run_tasks
from apcodec_deploy.cli.outputs import ending, tasks_for
from apcodec_deploy.cli.standard import decode_standard, is_standard
from apcodec_deploy.codec import load
from apcodec_deploy.errors import OutputError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.job import JobOptions


def decode(
    inputs: Annotated[list[Path], typer.Argument(help=".apc files.", metavar="IN...", readable=False)],
    output: shared.Output = None,
    to: Annotated[
        str | None, typer.Option("--to", help=f"{', '.join(FORMATS)}. Default: the ending of -o, or wav.")
    ] = None,
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
    json: shared.Json = False,
) -> None:
    """Turn codes back into audio. a.flac.apc becomes a.flac.wav, or a.flac with --to flac.

    The result goes beside the source or into the folder given with -o. IN may be - for standard input, and -o - is
    standard output. Decoding from standard input begins when all codes have arrived, because a stream's length stands
    at its end. Only live codes ('apcodec encode --live') are played while they come: as wav, with -o -.
    """
    named = ending(inputs, output)
    form = AudioFormat.of(to or named or "wav", subtype)
    if named in FORMATS and named != form.name:
        raise OutputError(f"{output} ends in {named}, and --to says {form.name}; make them agree")
    standard = is_standard(inputs, output)
    tasks = [] if standard else tasks_for(inputs, output, form.name)
    options = ConversionOptions(form=form, window=window, overwrite=overwrite, salvage=salvage)
    with load(model, backend, device=device, precision=precision, threads=threads, engines=engines) as codec:
        if standard:
            decode_standard(codec, inputs, output, form, options)
        else:
            report(run_tasks(codec, tasks, options, JobOptions(jobs=affordable_jobs(codec, jobs, window))), json=json)
