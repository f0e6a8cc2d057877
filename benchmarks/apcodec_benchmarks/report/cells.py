"""What all tables are made of: rows of Markdown, figures in so many digits, titles of contenders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apcodec_benchmarks.results import Results

NOTHING = "–"
MARK = "°"
"""Behind the name of a contender whose weights are random."""
MEGA = 1e6


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; every column but the first is for figures."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def title_of(results: Results, name: str) -> str:
    """A contender's title, marked where its weights are random."""
    record = results.contender(name)
    if record.facts is None:
        return name
    return record.facts.title + (MARK if record.facts.weights == "random" else "")


def figure(value: float | None, digits: int = 3) -> str:
    """A number in so many significant digits, without an exponent."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{value:.0f}" if value >= 1 else f"{value:.6f}".rstrip("0")
    return text


def share(value: float | None) -> str:
    """A share in percent."""
    return NOTHING if value is None else f"{value:.0%}"
