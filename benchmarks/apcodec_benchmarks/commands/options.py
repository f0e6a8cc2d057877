"""The options that several of the commands share, and what they do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.errors import OutputError

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A bundle, demo or demo-s. The text above names the default."),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="The model's checkpoint. Adds the PyTorch reference and a plain ONNX export.",
        readable=False,
    ),
]
Beside = Annotated[
    list[str] | None,
    typer.Option("--beside", metavar="BUNDLE", help="Another model to compare with. Repeatable."),
]
Codecs = Annotated[
    list[str] | None,
    typer.Option("--codecs", "-c", help="Codecs to measure, separated by commas. module:function adds your own."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write the results to this JSON file.", readable=False)]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or cuda:1 for another GPU.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Precision of the networks: float32, int8, or float16 on GPUs.")
]
AudioDec = Annotated[
    Path | None, typer.Option("--audiodec", help="A checkout of AudioDec that holds its checkpoints.", readable=False)
]
Trained = Annotated[bool, typer.Option("--trained", help="Download the published weights of the other codecs.")]


def split(values: list[str] | None) -> list[str] | None:
    """Values that were given one by one or with commas between; None where none was."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()] if values else None


def check_targets(*targets: Path | None, overwrite: bool) -> None:
    """Refuse at once what would fail after minutes of work.

    Raises:
        OutputError: A file is there already, or a folder.
    """
    for target in targets:
        if target is not None and target.is_dir():
            raise OutputError(f"{target} is a folder; a file is expected")
        if target is not None and target.exists() and not overwrite:
            raise OutputError(f"{target} exists; --overwrite replaces it")
