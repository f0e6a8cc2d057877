"""``apcodec export``. Imports nothing heavy, so that ``--help`` works without PyTorch."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli.console import print_json, progress_bar, say
from apcodec_deploy.errors import CheckpointError, ExportError, require
from apcodec_deploy.precision import EXPORTED, precision_named


def export(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="The checkpoint and the bundle to write. With --encoder, --decoder and --config: only BUNDLE.",
            metavar="[CHECKPOINT_DIR] BUNDLE",
            readable=False,
        ),
    ],
    encoder: Annotated[
        Path | None, typer.Option(help="File of encoder weights, instead of CHECKPOINT_DIR.", readable=False)
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="File of decoder weights, instead of CHECKPOINT_DIR.", readable=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The config.json the model was trained with.", readable=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: the bundle's name.")] = None,
    float32: Annotated[
        list[str] | None,
        typer.Option(
            "--float32",
            metavar="LAYER",
            help="Keep this layer of the fp16 graphs in float32: 'decoder.real_head', '*.stream'. Repeatable.",
        ),
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(
            "--precision", help="Beside float32, export this precision: fp16 or int8. Repeatable. Default: both."
        ),
    ] = None,
    weight_bits: Annotated[
        int,
        typer.Option(
            "--weight-bits",
            metavar="BITS",
            help="Round weights to so many significant bits, 8 to 24. With 11, a packed bundle is about half as large.",
        ),
    ] = 24,
    plain: Annotated[
        bool, typer.Option("--plain", help="If a file holds averaged (EMA) and plain weights, take the plain ones.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the bundle's model.json to standard output.")] = False,
) -> None:
    """Turn a trained checkpoint into a verified bundle of ONNX graphs.

    CHECKPOINT_DIR is what the training code wrote: config.json and the newest encoder_* and decoder_*. One file with
    both parts will do, too.

    Every graph is compared with PyTorch at several lengths, batch sizes and signals. The bundle appears only if all of
    them agree. It also holds fp16 graphs for GPUs and int8 graphs for CPUs, each compared with float32.
    """
    for module in ("torch", "onnx", "onnxscript", "safetensors"):
        require(module, extra="export")
    from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
    from apcodec_export.deployed.precision import HALF
    from apcodec_export.exporting import export_bundle, steps_of

    *directories, bundle = paths
    if encoder and decoder and config and not directories:
        files = CheckpointFiles(encoder=encoder, decoder=decoder, config=config)
    elif len(directories) == 1 and not (encoder or decoder or config):
        files = CheckpointFiles.find(directories[0])
    else:
        raise CheckpointError("name CHECKPOINT_DIR BUNDLE, or --encoder, --decoder and --config with BUNDLE alone")
    wanted = _exported(precisions)
    checkpoint = Checkpoint.load(files, averaged=not plain)
    for note in checkpoint.notes:
        say(f"note: {note}")
    with progress_bar() as bar:
        task = bar.add_task("reading", total=steps_of(checkpoint, wanted) + 1)
        made = export_bundle(
            checkpoint,
            bundle,
            name=name,
            plan=replace(HALF, float32=tuple(float32 or ())),
            precisions=wanted,
            weight_bits=weight_bits,
            overwrite=overwrite,
            progress=lambda step: bar.update(task, advance=1, description=step),
        )
    for note in made.manifest["notes"][len(checkpoint.notes) :]:
        say(f"note: {note}")
    if json:
        print_json(dict(made.manifest))
    else:
        say(
            f"{bundle}: {made.spec.family}, {made.spec.sample_rate} Hz, {made.spec.bitrate:g} bit/s, "
            f"model {made.fingerprint[:16]}"
        )
        errors = ", ".join(f"{label} {error:.1e}" for label, error in made.worst_errors.items())
        rounding = ", before rounding" if "weights" in made.manifest else ""
        say(f"largest errors against PyTorch{rounding}: {errors}")
        judged = {precision: made.variant(precision)["judgement"] for precision in made.precisions[1:]}
        if weights := made.manifest.get("weights"):
            judged = {f"weights of {weights['bits']} bits": weights["judgement"]} | judged
        for what, judgement in judged.items():
            say(
                f"{what} against float32: {min(judgement['code_agreement']):.1%} of the codes, "
                f"at least {min(judgement['snr_db'].values()):g} dB from the same codes"
            )
        say(f"next: apcodec transcode my-music out --model {shlex.quote(str(bundle))}")


def _exported(named: list[str] | None) -> tuple[str, ...]:
    """What to export.

    Raises:
        ApcodecError: Something else was named than what has graphs of its own.
    """
    found = tuple(precision_named(text) for text in named or EXPORTED)
    if other := [name for name in found if name not in EXPORTED]:
        raise ExportError(f"no graphs are exported in {', '.join(other)}; there are: {', '.join(EXPORTED)}")
    return found
