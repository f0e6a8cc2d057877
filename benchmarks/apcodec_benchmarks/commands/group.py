"""``apcodec bench`` and its commands."""

from __future__ import annotations

import typer

from apcodec_benchmarks.commands.compare import compare
from apcodec_benchmarks.commands.quality import quality
from apcodec_benchmarks.commands.rtf import rtf
from apcodec_benchmarks.commands.table import table
from apcodec_benchmarks.commands.windows import windows

bench = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure speed and quality, beside other codecs; compare and draw what was measured.",
)
for _command in (rtf, quality, windows, compare, table):
    bench.command()(_command)
