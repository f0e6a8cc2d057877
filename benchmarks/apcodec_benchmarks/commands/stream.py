"""``apcodec bench stream``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_benchmarks.commands import options
from apcodec_benchmarks.commands.showing import progress, show
from apcodec_deploy.cli import options as shared
from apcodec_deploy.machine import available_cpus


def stream(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A bundle of the family apcodec-s; several are compared.")
    ] = None,
    shape: Annotated[
        str, typer.Option("--shape", help="Without --model: full, or small for a first try. Weights are random.")
    ] = "full",
    codecs: options.Codecs = None,
    tokens: Annotated[
        list[int] | None, typer.Option("--tokens", min=1, help="Tokens a push. Default: 1, 2, 4 and 8.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Measure with 1 and so many CPU threads. Default: all.")
    ] = None,
    audiodec: options.AudioDec = None,
    trained: options.Trained = False,
    soak: Annotated[
        int, typer.Option("--soak", min=0, help="Push so often to 50 streams that come and go, with the first codec.")
    ] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures, of at most 16 streams.")] = False,
    out: options.Out = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Draw plots into this folder.", readable=False)] = None,
    overwrite: shared.Overwrite = False,
    json: shared.Json = False,
) -> None:
    """Measure live use: latency, compute time of a push, and how many streams this machine carries.

    Other codecs that can code live are measured in the same run. Without --model, APCodec-S has random weights, once
    without history and once with six frames of it. A machine carries as many streams as long as 99 of 100 pushes end
    before the next audio is there.
    """
    from apcodec_benchmarks.stream_request import StreamRequest, run_stream

    options.check_targets(out, overwrite=overwrite)
    request = StreamRequest(
        models=model or (),
        shape=shape,
        codecs=options.split(codecs),
        tokens=tokens,
        threads=threads or available_cpus(),
        audiodec=audiodec,
        trained=trained,
        soak=soak,
        quick=quick,
    )
    with progress() as update:
        results = run_stream(request, update)
    show(results, out=out, plots=plots, overwrite=overwrite, json=json)
