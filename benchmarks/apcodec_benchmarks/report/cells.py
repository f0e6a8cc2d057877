"""What all tables are made of: rows of Markdown, figures in so many digits, titles of contenders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from apcodec_benchmarks.results import Results

NOTHING = "–"
MARK = "°"
"""Behind the name of a contender whose weights are random."""
MEGA = 1e6


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; every column but the first is for figures."""
    lines = [_row(head), "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[str]) -> str:
    # Backslashes before a bar are doubled, or the last of them would be taken for the bar's own.
    escaped = (re.sub(r"\\*\|", lambda found: found[0][:-1] * 2 + r"\|", line(cell)) for cell in cells)
    return f"| {' | '.join(escaped)} |"


def line(text: str) -> str:
    """Text that others wrote as one line of Markdown, in which nothing is taken for HTML."""
    return " ".join(text.split()).replace("<", "&lt;")


def title_of(results: Results, name: str) -> str:
    """A contender's title, marked where its weights are random."""
    record = results.contender(name)
    if record.facts is None:
        return name
    return record.facts.title + (MARK if record.facts.weights == "random" else "")


def figure(value: float | None, digits: int = 3) -> str:
    """A number in so many significant digits, or in all that stand before its point, without an exponent."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{value:.0f}" if abs(value) >= 1 else f"{Decimal(text):f}"
    return text


def share(value: float | None) -> str:
    """A share in percent."""
    return NOTHING if value is None else f"{value:.0%}"
