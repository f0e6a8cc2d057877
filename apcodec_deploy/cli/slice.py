"""``apcodec slice``: a part of a clip, without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import result, say
from apcodec_deploy.cli.outputs import codes_file
from apcodec_deploy.editing import sliced
from apcodec_deploy.encoded import EncodedAudio


def slice_codes(
    source: Annotated[Path, typer.Argument(help="A .apc file.", metavar="IN", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .apc file to write.", readable=False)],
    start: Annotated[float, typer.Option("--start", min=0, help="Seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option("--end", min=0, help="Seconds. Default: the end of the clip.")] = None,
    overwrite: shared.Overwrite = False,
) -> None:
    """Cut a part out of a .apc file without decoding it.

    The part begins at most one latent before --start. A latent is 6.7 ms with the published model.
    """
    part = sliced(EncodedAudio.load(source), start, end)
    part.save(codes_file(output), overwrite=overwrite)
    if note := part.header.layout.cut_note:
        say(f"note: {note}")
    result(f"{output}: {part.duration:.3f} s, {part.header.latents} latents")
