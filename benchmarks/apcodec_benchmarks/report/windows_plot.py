"""The plot of the window sweep: what the length of a model's windows costs."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.modes import ROUND_TRIP
from apcodec_benchmarks.report.cells import figure
from apcodec_benchmarks.report.plot_sheet import (
    COLOURS,
    RTF,
    SMALL,
    finish,
    logarithmic,
    new_figure,
    notes_of,
    threads_of,
)
from apcodec_benchmarks.report.speed_plots import rtf_of
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.windows import WHOLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = re.compile(r"(\d+(?:\.\d+)?) s")
_METRICS = ("lsd", "stoi")
_LEAST_RANGE = 10
"""A metric's axis spans at least so many notable changes: what tells nothing should not look steep."""
_MARKERS = "osD"


def is_sweep(results: Results) -> bool:
    """Whether the contenders are windows: all named by a length in seconds or ``whole``, and their quality is known."""
    names = [record.name for record in results.contenders]
    return (
        bool(results.quality)
        and any(_NAME.fullmatch(name) for name in names)
        and all(name == WHOLE or _NAME.fullmatch(name) for name in names)
    )


def windows_plot(results: Results) -> Figure | None:
    """LSD, STOI and RTF over the length of the windows; clips as a whole at the right."""
    if not is_sweep(results):
        return None
    places = _places(results)
    metrics = [(METRICS[name], _means(results, name)) for name in _METRICS]
    metrics = [(metric, means) for metric, means in metrics if means]
    trips = {name: _round_trips(results, name) for name in places}
    speeds = {name: rtf_of(own) for name, own in trips.items() if own}
    if not metrics and not speeds:
        return None
    sheet = new_figure()
    panels = sheet.subplots(len(metrics) + bool(speeds), 1, sharex=True, squeeze=False)[:, 0]
    for place, (panel, (metric, means)) in enumerate(zip(panels, metrics, strict=False)):
        low, high = min(means.values()), max(means.values())
        margin = max(0.25 * (high - low), (_LEAST_RANGE * metric.notable - (high - low)) / 2)
        panel.set_ylim(low - margin, high + margin)
        panel.set_ylabel(f"{metric.title}, {'higher' if metric.higher_is_better else 'lower'}\nis better")
        texts = {name: f"{mean:.{metric.digits}f}" for name, mean in means.items()}
        _curve(panel, means, texts, places, place)
    if speeds:
        panels[-1].set_ylim(0, 1.3 * max(speeds.values()))
        panels[-1].set_ylabel("RTF, lower\nis faster")
        _curve(panels[-1], speeds, {name: figure(rtf) for name, rtf in speeds.items()}, places, len(metrics))
    ends = min(places.values()), max(places.values())
    logarithmic(panels[-1], "x", ends[0] / 1.25, ends[1] * 1.25, places.values())
    panels[-1].set_xticks(list(places.values()), [_label(name) for name in places])
    panels[-1].set_xlabel("length of the windows, s, logarithmic")
    timed = [f"RTF with {threads_of(own[0].threads)}" for own in trips.values() if own][:1]
    return finish(
        sheet,
        height=50 + 125 * len(panels),
        title="What the length of the windows costs in quality and in time",
        about=[
            f"{RTF}, by the median of the calls; LSD in decades of power, 0 is best; STOI of 1 is best",
            "; ".join([f"round trip of {_files(results)}", *timed]),
        ],
        notes=notes_of(results, places),
    )


def _places(results: Results) -> dict[str, float]:
    """Where each window stands, in seconds, ascending; whole clips stand behind the longest, as if twice as long."""
    names = [record.name for record in results.contenders]
    found = {name: float(match[1]) for name in names if (match := _NAME.fullmatch(name))}
    places = dict(sorted(found.items(), key=lambda item: item[1]))
    return places | ({WHOLE: 2 * max(places.values())} if WHOLE in names else {})


def _means(results: Results, metric: str) -> dict[str, float]:
    """Means over files, by window; without those for which there is no figure."""
    values: dict[str, list[float]] = {}
    for row in results.quality:
        if row.problem is None and metric in row.metrics:
            values.setdefault(row.contender, []).append(row.metrics[metric])
    return {name: statistics.fmean(each) for name, each in values.items()}


def _round_trips(results: Results, name: str) -> list[Timing]:
    return [each for each in results.timings if each.contender == name and each.case.operation == ROUND_TRIP]


def _curve(
    panel: Axes, values: Mapping[str, float], texts: Mapping[str, str], places: Mapping[str, float], place: int
) -> None:
    """Values over windows, each with its text; the way to whole clips, which are no window, is dotted."""
    look: dict[str, Any] = {"color": COLOURS[place], "linewidth": 1.6, "marker": _MARKERS[place]}
    points = [(places[name], values[name]) for name in places if name in values]
    windows = points[:-1] if WHOLE in values else points
    if WHOLE in values:
        panel.plot(*zip(*points[-2:], strict=True), linestyle=":", **look)
    if windows:
        panel.plot(*zip(*windows, strict=True), linestyle="-", **look)
    for name, text in texts.items():
        panel.annotate(
            text, (places[name], values[name]), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=SMALL,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip


def _label(name: str) -> str:
    match = _NAME.fullmatch(name)
    return figure(float(match[1])) if match else name


def _files(results: Results) -> str:
    """What was coded, in words."""
    lengths = {row.file: row.seconds for row in results.quality}
    if len(lengths) == 1:
        return f"one clip of {min(lengths.values()):.3g} s"
    return f"{len(lengths)} clips of {min(lengths.values()):.3g} to {max(lengths.values()):.3g} s, means over them"
