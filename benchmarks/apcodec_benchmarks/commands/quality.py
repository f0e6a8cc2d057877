"""``apcodec bench quality``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_benchmarks.commands import options
from apcodec_benchmarks.commands.showing import progress, show
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import say
from apcodec_deploy.machine import available_cpus


def quality(
    folder: Annotated[Path, typer.Argument(help="A folder of audio files.", readable=False)],
    codecs: options.Codecs = None,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    beside: options.Beside = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all.")] = None,
    device: options.Device = "cpu",
    precision: options.Precision = "float32",
    audiodec: options.AudioDec = None,
    trained: options.Trained = False,
    metrics: Annotated[
        list[str] | None, typer.Option("--metrics", help="lsd, mel, si_sdr, snr, stoi, pesq, visqol. Default: all.")
    ] = None,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-below",
            metavar="NAME=VALUE",
            help="Exit 1 if the mean of an APCodec is worse: stoi=0.85, lsd=1.3, codes=0.97. Repeatable.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page to listen to, with blind tests.", readable=False)
    ] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Clips on the page.")] = 8,
    clip_seconds: Annotated[
        float, typer.Option("--clip-seconds", min=0.5, help="Length of each clip on the page.")
    ] = 12.0,
    speed: Annotated[
        Path | None, typer.Option("--speed", help="Results of 'bench rtf' to show on the page.", readable=False)
    ] = None,
    out: options.Out = None,
    overwrite: shared.Overwrite = False,
    json: shared.Json = False,
) -> None:
    """Measure how close the decoded audio is to the original, file by file, for APCodec and other codecs.

    Without --model or --checkpoint the embedded demo model is measured. Codecs with random weights are left out. The
    codes of every APCodec are compared with those of float32 on the CPU.
    """
    from apcodec_benchmarks.gate import broken, failed_files, limits_of
    from apcodec_benchmarks.listening import Clips, write_page
    from apcodec_benchmarks.requests import QualityRequest, run_quality
    from apcodec_benchmarks.results import Results

    options.check_targets(out, html, overwrite=overwrite)
    limits = limits_of(fail_below or [])
    timed = None if speed is None else Results.read(speed)
    request = QualityRequest(
        folder=folder,
        codecs=options.split(codecs),
        model=model,
        checkpoint=checkpoint,
        threads=threads or available_cpus(),
        device=device,
        precision=precision,
        audiodec=audiodec,
        trained=trained,
        metrics=options.split(metrics),
        beside=beside or (),
    )
    kept = Clips(most=clips if html is not None else 0, seconds=clip_seconds)
    with progress() as update:
        results = run_quality(request, heard=kept.add, progress=update)
    show(results, out=out, overwrite=overwrite, json=json)
    if html is not None:
        write_page(html, results, kept, speed=timed, overwrite=overwrite)
        say(f"page: {html}")
    problems = [*broken(results, limits), *failed_files(results)]
    for problem in problems:
        say(f"error: {problem}")
    if problems:
        raise typer.Exit(1)
