"""``apcodec bench compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result, say


def compare(
    before: Annotated[Path, typer.Argument(help="Results of 'bench rtf' or 'bench quality'.", readable=False)],
    after: Annotated[Path, typer.Argument(help="Later results.", readable=False)],
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Share by which a time may grow before it counts as slower.")
    ] = 0.05,
    relative_to: Annotated[
        str | None,
        typer.Option(
            "--relative-to", help="Divide all times by those of this codec; 'ceiling' is the machine's own speed."
        ),
    ] = None,
    json: shared.Json = False,
) -> None:
    """Compare two results. The exit code is 1 if something got slower or worse.

    A time counts as slower if it grew by more than the tolerance and the middle halves of the calls do not overlap.
    """
    from apcodec_benchmarks import comparison
    from apcodec_benchmarks.report.comparison_table import comparison_table
    from apcodec_benchmarks.results import Results

    found = comparison.compare(Results.read(before), Results.read(after), tolerance=tolerance, relative_to=relative_to)
    if json:
        print_json(asdict(found))
    else:
        for line in comparison_table(found).splitlines():
            result(line)
        for note in (*found.notes, *found.missing):
            say(f"note: {note}")
    if found.regressions:
        say(f"{len(found.regressions)} of {len(found.changes)} figures got worse")
        raise typer.Exit(1)
