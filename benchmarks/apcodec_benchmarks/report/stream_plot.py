"""The plot of live use: how late the slowest pushes are, over the streams at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.modes import SESSIONS
from apcodec_benchmarks.report.plot_sheet import (
    QUIET,
    finish,
    label_of,
    logarithmic,
    look_of,
    new_figure,
    notes_of,
    threads_of,
)
from apcodec_benchmarks.report.stream_tables import tokens_of
from apcodec_benchmarks.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TOP = 10.0
"""Nobody cares by how much more a push is late."""


def stream_plot(results: Results) -> Figure | None:
    """p99 of a push over the streams at a time, a panel for each number of tokens a push."""
    every = [each for each in results.timings if each.mode == SESSIONS]
    if not every:
        return None
    counts = sorted({tokens_of(results, each) for each in every})
    sheet = new_figure()
    panels = sheet.subplots(len(counts), 1, sharex=True, squeeze=False)[:, 0]
    legend: dict[str, Any] = {}
    low = min(each.times.p99 / each.case.seconds for each in every)
    high = min(_TOP, max(each.times.p99 / each.case.seconds for each in every))
    for panel, count in zip(panels, counts, strict=True):
        shown = [each for each in every if tokens_of(results, each) == count]
        for name, timings in _by_contender(shown).items():
            places = [each.case.batch for each in timings]
            shares = [each.times.p99 / each.case.seconds for each in timings]
            legend.setdefault(name, panel.plot(places, shares, **look_of(results, name).options())[0])
        panel.axhline(1, color=QUIET, linewidth=1.2, linestyle="--", zorder=1.5)
        panel.set_ylabel(f"{count} token{'s' * (count > 1)} a push:\np99 / audio pushed")
        logarithmic(panel, "y", low / 1.4, max(1.0, high) * 1.4)
    batches = sorted({each.case.batch for each in every})
    logarithmic(panels[-1], "x", batches[0] / 1.15, batches[-1] * 1.15, batches)
    panels[-1].set_xlabel("streams at a time")
    return finish(
        sheet,
        height=30 + 200 * len(counts),
        title="How many streams a machine carries",
        about=[
            "encode and decode of a push to all streams, as one batch; 99 of 100 pushes end within p99",
            f"in time below the dashed line, where p99 is the audio pushed; {threads_of(every[0].threads)}; "
            "axes logarithmic",
        ],
        notes=notes_of(results, legend),
        legend=[(handle, label_of(results, name)) for name, handle in legend.items()],
    )


def _by_contender(timings: list[Timing]) -> dict[str, list[Timing]]:
    """In the order of the streams."""
    found: dict[str, list[Timing]] = {}
    for each in sorted(timings, key=lambda each: each.case.batch):
        found.setdefault(each.contender, []).append(each)
    return {name: found[name] for name in dict.fromkeys(each.contender for each in timings)}
