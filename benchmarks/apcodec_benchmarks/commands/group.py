"""``apcodec bench`` and its commands."""

from __future__ import annotations

import typer

from apcodec_benchmarks.commands.compare import compare
from apcodec_benchmarks.commands.quality import quality
from apcodec_benchmarks.commands.rtf import rtf
from apcodec_benchmarks.commands.stream import stream
from apcodec_benchmarks.commands.table import table
from apcodec_benchmarks.commands.windows import windows
from apcodec_deploy.cli.help_text import help_of

bench = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure speed and quality beside other codecs, compare results and draw plots.",
)
for _command in (rtf, stream, quality, windows, compare, table):
    bench.command(help=help_of(_command))(_command)
