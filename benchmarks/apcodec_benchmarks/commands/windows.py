"""``apcodec bench windows``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_benchmarks.commands import options
from apcodec_benchmarks.commands.showing import progress, show
from apcodec_deploy.cli import options as shared
from apcodec_deploy.machine import available_cpus


def windows(
    folder: Annotated[Path, typer.Argument(help="A folder of audio files.", readable=False)],
    model: options.Model = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=170, help="Length of the test clip: all files joined and repeated.")
    ] = 60.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Measure fewer rounds.")] = False,
    out: options.Out = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Draw plots into this folder.", readable=False)] = None,
    overwrite: shared.Overwrite = False,
    json: shared.Json = False,
) -> None:
    """Measure quality and time for window lengths from 1/6 s to the whole clip.

    Without --model the embedded demo model is measured.
    """
    from apcodec_benchmarks.requests import WindowsRequest, run_windows

    options.check_targets(out, overwrite=overwrite)
    request = WindowsRequest(
        folder=folder, model=model, seconds=seconds, threads=threads or available_cpus(), quick=quick
    )
    with progress() as update:
        results = run_windows(request, update)
    show(results, out=out, plots=plots, overwrite=overwrite, json=json)
