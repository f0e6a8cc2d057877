"""``apcodec concat``: clips one after the other, without decoding them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import result, say
from apcodec_deploy.cli.outputs import codes_file
from apcodec_deploy.editing import concatenated, continued
from apcodec_deploy.encoded import EncodedAudio


def concat(
    sources: Annotated[list[Path], typer.Argument(help=".apc files.", metavar="IN...", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .apc file to write.", readable=False)],
    overwrite: shared.Overwrite = False,
) -> None:
    """Join .apc files without decoding them. Model, sample rate and number of channels must be the same.

    Every clip but the last may grow by less than one latent, because a latent cannot be split. Parts that 'apcodec
    slice' cut apart fit together without a seam.
    """
    clips = [EncodedAudio.load(source) for source in sources]
    joined = concatenated(clips)
    joined.save(codes_file(output), overwrite=overwrite)
    if (note := joined.header.layout.seam_note) and not all(continued(*pair) for pair in pairwise(clips)):
        say(f"note: {note}")
    result(f"{output}: {joined.duration:.3f} s of {len(sources)} clips")
