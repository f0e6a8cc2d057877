"""``apcodec bench rtf``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_benchmarks.commands import options
from apcodec_benchmarks.commands.showing import progress, show
from apcodec_deploy.cli import options as shared
from apcodec_deploy.machine import available_cpus


def rtf(
    mode: Annotated[
        list[str] | None,
        typer.Option("--mode", help="cpuN, cpu1, paper, window, throughput, engine, length. Default: the first five."),
    ] = None,
    codecs: options.Codecs = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    beside: options.Beside = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=3600, help="Length of the clip.")] = 10.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all.")] = None,
    device: options.Device = "cpu",
    precision: options.Precision = "float32",
    audio: Annotated[
        Path | None, typer.Option("--audio", help="A folder of speech for the mode 'paper'.", readable=False)
    ] = None,
    audiodec: options.AudioDec = None,
    trained: options.Trained = False,
    quick: Annotated[bool, typer.Option("--quick", help="A rough figure within two minutes.")] = False,
    brief: Annotated[
        bool, typer.Option("--brief", help="Measure the named modes as briefly as when all of them run.")
    ] = False,
    out: options.Out = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Draw plots into this folder.", readable=False)] = None,
    overwrite: shared.Overwrite = False,
    json: shared.Json = False,
) -> None:
    """Measure the real-time factor of APCodec beside other codecs.

    The real-time factor is compute time divided by audio time. Every codec runs in a process of its own, and all of
    them take turns. Without --model or --checkpoint, APCodec has the published shape with random weights. A codec that
    cannot run stays in the table with the reason.
    """
    from apcodec_benchmarks.requests import SpeedRequest, run_speed

    options.check_targets(out, overwrite=overwrite)
    request = SpeedRequest(
        modes=options.split(mode),
        codecs=options.split(codecs),
        model=model,
        checkpoint=checkpoint,
        seconds=seconds,
        threads=threads or available_cpus(),
        device=device,
        precision=precision,
        audio=audio,
        audiodec=audiodec,
        trained=trained,
        beside=beside or (),
        quick=quick,
        brief=brief,
    )
    with progress() as update:
        results = run_speed(request, update)
    show(results, out=out, plots=plots, overwrite=overwrite, json=json)
