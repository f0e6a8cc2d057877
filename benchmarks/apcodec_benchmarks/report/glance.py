"""Speed at a glance, for readers who want one figure: a short table of chosen contenders, and a plot of all."""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.modes import ROUND_TRIP
from apcodec_benchmarks.report.cells import MEGA, NOTHING, figure, table, title_of
from apcodec_benchmarks.report.plot_sheet import (
    COLOURS,
    NAME_CHARACTERS,
    finish,
    label_of,
    new_figure,
    notes_of,
    threads_of,
)
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODES = ("cpuN", "cpu1")
_OURS, _OTHERS = COLOURS[0], "#A9B4BD"
_REAL_TIME = COLOURS[1]


def glance_table(results: Results, names: Sequence[str]) -> str:
    """How many times faster than real time some contenders are, in the order in which they are named.

    Raises:
        BenchmarkError: One of them was not timed on all threads.
    """
    timed = {mode: _round_trips(results, mode) for mode in _MODES}
    all_threads = timed["cpuN"]
    if lacking := [name for name in names if name not in all_threads]:
        raise BenchmarkError(f"{', '.join(lacking)} was not timed in mode cpuN; there are: {', '.join(all_threads)}")
    columns = [mode for mode in _MODES if timed[mode]]
    threads = [threads_of(next(iter(timed[mode].values())).threads) for mode in columns]
    rows = []
    for name in names:
        speeds = [f"{figure(1 / timed[mode][name].rtf)} x" if name in timed[mode] else NOTHING for mode in columns]
        memory = all_threads[name].memory
        rows.append([_short(title_of(results, name)), *speeds, figure(None if memory is None else memory / MEGA)])
    head = ["times real time, round trip", *threads, "peak MB"]
    return table(head, rows)


def speed_plot(results: Results) -> Figure | None:
    """Bars of how many times faster than real time each contender is; None where nothing was timed on all threads."""
    timed = _round_trips(results, "cpuN")
    if not timed:
        return None
    order = sorted(timed, key=lambda name: timed[name].rtf)
    speeds = [1 / timed[name].rtf for name in order]
    labels = ["\n".join(textwrap.wrap(_short(label_of(results, name)), NAME_CHARACTERS)) for name in order]
    sheet = new_figure()
    axes = sheet.add_subplot()
    colours = [_OURS if name.startswith("apcodec") else _OTHERS for name in order]
    axes.barh(range(len(order)), speeds, 0.72, color=colours)
    for row, speed in enumerate(speeds):
        axes.annotate(
            f"{figure(speed)} x", (speed, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.axvline(1, color=_REAL_TIME, linewidth=1.2, linestyle="--")
    axes.set_xlim(0, max(*speeds, 1.0) * 1.1)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_yticks(range(len(order)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("times real time; the dashed line is real time")
    seconds = statistics.median(each.case.seconds for each in timed.values())
    threads = threads_of(next(iter(timed.values())).threads)
    return finish(
        sheet,
        height=40 + len(order) * max(19, *(6 + 13 * (1 + label.count("\n")) for label in labels), 0),
        title="How many seconds of audio in one second",
        about=[f"audio to codes to audio, clips of {seconds:g} s, {threads}, median of the calls; longer is faster"],
        notes=notes_of(results, order),
    )


def _short(title: str) -> str:
    """A title without the length of its windows, which the long tables tell."""
    return re.sub(r", windows of [\d.]+ s", "", title)


def _round_trips(results: Results, mode: str) -> dict[str, Timing]:
    return {
        each.contender: each
        for each in results.timings
        if each.mode == mode and each.case.operation == ROUND_TRIP and each.case.file is None
    }
