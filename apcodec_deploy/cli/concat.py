"""``apcodec concat``: clips one after the other, without decoding them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import result
from apcodec_deploy.editing import concatenated
from apcodec_deploy.encoded import EncodedAudio


def concat(
    sources: Annotated[list[Path], typer.Argument(help=".apc files.", metavar="IN...", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .apc file to write.", readable=False)],
    overwrite: shared.Overwrite = False,
) -> None:
    """Join .apc files of one model, rate and number of channels, without decoding them.

    Each clip but the last is taken to the end of its last latent, so it may grow by less than one. What 'apcodec slice'
    cut between two latents is joined without a trace.
    """
    joined = concatenated([EncodedAudio.load(source) for source in sources])
    joined.save(output, overwrite=overwrite)
    result(f"{output}: {joined.duration:.3f} s of {len(sources)} clips")
