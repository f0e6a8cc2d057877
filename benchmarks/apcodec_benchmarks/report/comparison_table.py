"""A comparison of two results as Markdown."""

from __future__ import annotations

from apcodec_benchmarks.comparison import Change, Comparison
from apcodec_benchmarks.report.cells import NOTHING, figure, table


def comparison_table(comparison: Comparison) -> str:
    """Every figure that both hold: before, after, the change, what the spread allows, and the verdict."""
    return table(
        ["what", "before", "after", "change", "spread", "verdict"], [_row(each) for each in comparison.changes]
    )


def _row(change: Change) -> list[str]:
    relative = change.spread is not None
    spread = NOTHING
    if change.spread is not None:
        spread = f"{change.spread[0]:+.1%} to {change.spread[1]:+.1%}"
    # A metric's change is stated as the reader sees it, not as better or worse.
    difference = f"{change.change:+.1%}" if relative else f"{change.after - change.before:+.3g}"
    verdict = change.verdict if change.verdict == "same" else f"**{change.verdict}**"
    return [change.what, figure(change.before, 4), figure(change.after, 4), difference, spread, verdict]
