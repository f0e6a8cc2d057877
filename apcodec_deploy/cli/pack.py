"""``apcodec pack``: codes as training sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, progress_bar, result
from apcodec_deploy.cli.units import counted, duration
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.sharding.formats import SHARD_FORMATS
from apcodec_deploy.sharding.pack import pack as pack_folder
from apcodec_deploy.transcoding.verification import history_of


def pack(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder that 'apcodec transcode --to apc' wrote.", metavar="CODES_DIR", readable=False),
    ],
    target: Annotated[Path, typer.Argument(help="The shards go here.", metavar="SHARD_DIR", readable=False)],
    to: Annotated[str, typer.Option("--to", help=f"{' or '.join(SHARD_FORMATS)}.")] = "webdataset",
    size: Annotated[int, typer.Option("--shard-size", min=1, help="Files per shard.")] = 1000,
    json: shared.Json = False,
) -> None:
    """Pack codes into shards for training: WebDataset or Parquet, with 16-bit codes and exact sample counts.

    Files are sorted by name, so the same codes make the same shards. Call the command again after a stop: it goes on.
    Every file is checked against the manifest while it is read. The key of a clip is its path without .apc, with
    percent escapes for dots and for everything that is not printable ASCII.
    """
    if (form := SHARD_FORMATS.get(to)) is None:
        raise ApcodecError(f"--to {to}: expected one of {', '.join(SHARD_FORMATS)}")
    history = history_of(folder)
    with progress_bar() as bar:
        task = bar.add_task("packing", total=len(history.done))
        packed = pack_folder(
            folder, history, target, form, size=size, progress=lambda files: bar.update(task, advance=files)
        )
    if json:
        print_json(packed.to_dict())
    else:
        files, seconds = (sum(getattr(shard, name) for shard in packed.shards) for name in ("files", "seconds"))
        shards = counted(len(packed.shards), "shard")
        result(f"{shards}, {packed.written:,} written: {counted(files, 'file')}, {duration(seconds)} of audio")
