"""What the tests of tables share: results made by hand with words and settings, and a reader of Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from benchmark_plot_results import results as made_results

from apcodec_benchmarks.measurements import ContenderRecord, Quality, Timing
from apcodec_benchmarks.modes import MODES
from apcodec_benchmarks.results import Results

SETTINGS = {"definition": "RTF is so", "schedule": "often", "modes": {mode.name: mode.what for mode in MODES}}


def results(*contenders: ContenderRecord, timings: Sequence[Timing] = (), quality: Sequence[Quality] = ()) -> Results:
    made = made_results(*contenders, timings=timings)
    return replace(made, settings=SETTINGS, quality=tuple(quality))


def quality(contender: str, file: str, **values: object) -> Quality:
    return Quality(contender=contender, file=file, seconds=1.0, **values)  # type: ignore[arg-type]


def cells(line: str) -> list[str]:
    """The cells of a row, as a reader of Markdown splits it: a backslash keeps a bar from ending a cell."""
    assert line.startswith("| ") and line.endswith(" |")
    found = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
    assert "".join(f"{cell}|" for cell in found) == line[1:]
    return [cell.strip() for cell in found]


def tables(text: str) -> list[list[list[str]]]:
    """All tables of a text: rows of cells, the line under the head left out; every row is as wide as its head."""
    found = []
    for part in text.split("\n\n"):
        rows = [line for line in part.splitlines() if line.startswith("|")]
        if rows:
            widths = {len(cells(rows[0])), rows[1].count("|") - 1, *(len(cells(row)) for row in rows[2:])}
            assert len(widths) == 1, part
            assert re.fullmatch(r"\|---\|(--:\|)*", rows[1])
            found.append([cells(row) for row in (rows[0], *rows[2:])])
    return found


def columns(rows: list[list[str]]) -> list[dict[str, str]]:
    """Rows by the names of their columns; the first one is ``who``."""
    head = ["who", *rows[0][1:]]
    return [dict(zip(head, row, strict=True)) for row in rows[1:]]
