"""Plots of speed: RTF by contender, throughput by batch, time and memory by length."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.modes import ROUND_TRIP, STREAM
from apcodec_benchmarks.report.cells import MEGA, figure
from apcodec_benchmarks.report.plot_sheet import (
    COLOURS,
    DOUBTFUL,
    INK,
    MIDDLE_HALF,
    NAME_CHARACTERS,
    OPEN,
    QUIET,
    RTF,
    SMALL,
    finish,
    label_of,
    logarithmic,
    look_of,
    new_figure,
    notes_of,
    threads_of,
)
from apcodec_benchmarks.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LEAST_FITTED = 10.0
"""Seconds of the shortest clip in a fit: of shorter ones, what a call costs at any length, and a second window, are a
large part."""
_FIT = f"exponents: least squares of log time over log length, clips of {LEAST_FITTED:g} s and longer"
_REAL_TIME = "real time, RTF = 1"
_LIGHT = "#9CCBEA"


def rtf_plot(results: Results) -> Figure | None:
    """Bars of the round trip's RTF, the fastest first; a second, lighter one for a single thread."""
    groups = {mode: _by_contender(results, mode, ROUND_TRIP) for mode in ("cpuN", "cpu1", "paper")}
    mode = next((mode for mode, found in groups.items() if found), None)
    if mode is None:
        return None
    series = [groups[mode]] + ([groups["cpu1"]] if mode == "cpuN" and groups["cpu1"] else [])
    names = dict.fromkeys(name for each in series for name in each)
    order = sorted(names, key=lambda name: next(rtf_of(each[name]) for each in series if name in each))
    sheet = new_figure()
    axes = sheet.add_subplot()
    thickness = 0.62 if len(series) == 1 else 0.4
    ends = [_spread(timings) for each in series for timings in each.values()]
    low = min(1.0, *(start for start, _ in ends)) / 2.5
    top = max(1.0, *(end for _, end in ends))
    logarithmic(axes, "x", low, top * (top / low) ** 0.2)  # room for the values
    bars = []
    for place, (found, colour) in enumerate(zip(series, (COLOURS[0], _LIGHT), strict=False)):
        offset = (place - (len(series) - 1) / 2) * thickness
        rows = [(row + offset, found[name]) for row, name in enumerate(order) if name in found]
        widths = [rtf_of(timings) - low for _, timings in rows]
        bars.append(axes.barh([row for row, _ in rows], widths, thickness * 0.92, left=low, color=colour))
        for row, timings in rows:
            _value(axes, row, timings)
    axes.axvline(1, color=COLOURS[1], linewidth=1.4, linestyle="--", zorder=1.5)
    axes.annotate(
        _REAL_TIME, (1, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
        ha="center", color=COLOURS[1], fontsize=SMALL,
    )  # fmt: skip
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    labels = ["\n".join(textwrap.wrap(label_of(results, name), NAME_CHARACTERS)) for name in order]
    axes.set_yticks(range(len(order)), labels)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel("RTF, logarithmic; shorter is faster")
    shown = [[timing for own in each.values() for timing in own] for each in series]
    legend = [f"{threads_of(each[0].threads)} ({each[0].mode})" for each in shown]
    return finish(
        sheet,
        height=60 + len(order) * max(10 + 13 * max(1 + label.count("\n") for label in labels), 10 + 14 * len(series)),
        title="Real-time factor (RTF) of the round trip, audio to codes to audio",
        about=[f"{RTF}, by the median of the calls; {MIDDLE_HALF}", f"{_clips(shown[0])}; {' and '.join(legend)}"],
        notes=notes_of(results, order, doubtful=DOUBTFUL if any(map(_is_doubtful, shown)) else None),
        legend=list(zip(bars, legend, strict=True)) if len(series) > 1 else [],
    )


def throughput_plot(results: Results) -> Figure | None:
    """Seconds of audio per second, over clips at a time."""
    groups = _by_contender(results, "throughput", ROUND_TRIP)
    if not groups:
        return None
    sheet = new_figure()
    axes = sheet.add_subplot()
    lines: list[tuple[Line2D, str]] = []
    for name, timings in sorted(groups.items(), key=lambda item: item[1][-1].rtf):  # as they stand at the right
        speeds = [1 / each.rtf for each in timings]
        ends = [_spread([each]) for each in timings]
        below = [max(speed - 1 / high, 0.0) for speed, (_, high) in zip(speeds, ends, strict=True)]
        above = [max(1 / low - speed, 0.0) for speed, (low, _) in zip(speeds, ends, strict=True)]
        places = [each.case.batch for each in timings]
        line = axes.errorbar(places, speeds, [below, above], elinewidth=0.9, **look_of(results, name).options())
        lines.append((line[0], label_of(results, name)))
        _open_markers(axes, [(each.case.batch, 1 / each.rtf, each) for each in timings], results, name)
    every = [each for timings in groups.values() for each in timings]
    batches = sorted({each.case.batch for each in every})
    low, high = min(1 / each.rtf for each in every), max(1 / each.rtf for each in every)
    logarithmic(axes, "x", batches[0] / 1.15, batches[-1] * 1.15, batches)
    logarithmic(axes, "y", low / 1.5, high * 1.5)
    if low / 1.5 < 1 < high * 1.5:
        lines.append((axes.axhline(1, color=QUIET, linewidth=1.2, linestyle="--", zorder=1.5), _REAL_TIME))
    axes.set(xlabel="batch: clips at a time", ylabel="times real time, s of audio per s")
    return finish(
        sheet,
        height=300,
        title="Throughput of the round trip over the batch; higher is faster",
        about=[
            f"times real time = audio time / compute time = 1 / RTF, by the median of the calls; {MIDDLE_HALF}",
            f"{_clips(every)}; {threads_of(every[0].threads)}; both axes logarithmic",
        ],
        notes=notes_of(results, groups, doubtful=OPEN if _is_doubtful(every) else None),
        legend=lines,
    )


def length_plot(results: Results) -> Figure | None:
    """Time and peak memory over the length of a clip that is streamed, with the exponent by which time grows."""
    groups = _by_contender(results, "length", STREAM)
    if not groups:
        return None
    every = [each for timings in groups.values() for each in timings]
    remembers = any(each.memory is not None for each in every)
    sheet = new_figure()
    panels = sheet.subplots(2 if remembers else 1, 1, sharex=True, squeeze=False)[:, 0]
    legend: list[tuple[Line2D, str]] = []
    fitted = False
    for name, timings in groups.items():
        look = look_of(results, name).options()
        seconds = [each.case.seconds for each in timings]
        (line,) = panels[0].plot(seconds, [each.times.median for each in timings], **look)
        known = [(each.case.seconds, each.memory / MEGA) for each in timings if each.memory is not None]
        if known:
            panels[1].plot(*zip(*known, strict=True), **look)
        exponent = growth_exponent((each.case.seconds, each.times.median) for each in timings)
        fitted = fitted or exponent is not None
        said = ", ".join(_growth(timings, exponent, [each for _, each in known]))
        legend.append((line, f"{label_of(results, name)}: {said}"))
        _open_markers(panels[0], [(each.case.seconds, each.times.median, each) for each in timings], results, name)
    lengths = sorted({each.case.seconds for each in every})
    real_time = panels[0].axline((1, 1), (10, 10), linestyle="--", color=QUIET, linewidth=1.2)
    spent = [each.times.median for each in every] + [lengths[0], lengths[-1]]
    logarithmic(panels[0], "x", lengths[0] / 1.2, lengths[-1] * 1.2, lengths)
    logarithmic(panels[0], "y", min(spent) / 2, max(spent) * 2)
    panels[0].set_ylabel("compute time, s")
    if remembers:
        panels[1].set_ylim(0, 1.15 * max(each.memory for each in every if each.memory is not None) / MEGA)
        panels[1].set_ylabel("peak memory, MB")
    panels[-1].set_xlabel("length of the clip, s, logarithmic")
    return finish(
        sheet,
        height=400 if remembers else 240,
        title="Time and peak memory over the length of the clip" if remembers else "Time over the length of the clip",
        about=[
            f"the whole clip streamed, codes and audio; {threads_of(every[0].threads)}; {RTF}, by the median of the "
            "calls",
            *([_FIT] if fitted else []),
        ],
        notes=notes_of(results, groups, doubtful=OPEN if _is_doubtful(every) else None),
        legend=[*legend, (real_time, _REAL_TIME)],
    )


def growth_exponent(points: Iterable[tuple[float, float]]) -> float | None:
    """The exponent p of the best time ~ length^p: least squares of log time over log length.

    Args:
        points: Lengths and times in seconds; lengths below ``LEAST_FITTED`` do not count.

    Returns:
        None where fewer than two lengths count.
    """
    kept = [(math.log(length), math.log(time)) for length, time in points if length >= LEAST_FITTED]
    if len({length for length, _ in kept}) < 2:
        return None
    return statistics.linear_regression(*zip(*kept, strict=True)).slope


def rtf_of(timings: Sequence[Timing]) -> float:
    """All compute time over all audio time, by medians; of a single timing its RTF."""
    return sum(each.times.median for each in timings) / sum(each.case.audio_seconds for each in timings)


def _spread(timings: Sequence[Timing]) -> tuple[float, float]:
    audio = sum(each.case.audio_seconds for each in timings)
    low, high = (sum(each.times.spread[end] for each in timings) / audio for end in (0, 1))
    return low, high


def _by_contender(results: Results, mode: str, operation: str) -> dict[str, list[Timing]]:
    """Timings that a logarithmic axis can show, in the contenders' order, by batch and length."""
    found = [
        each
        for each in results.timings
        if each.mode == mode and each.case.operation == operation and each.case.audio_seconds > 0
        if each.times.spread[0] > 0 and each.times.spread[1] < math.inf
    ]
    groups = {record.name: [each for each in found if each.contender == record.name] for record in results.contenders}
    return {
        name: sorted(own, key=lambda each: (each.case.batch, each.case.seconds)) for name, own in groups.items() if own
    }


def _value(axes: Axes, row: float, timings: Sequence[Timing]) -> None:
    """The error bar of one bar, and its value beyond it."""
    value, (low, high) = rtf_of(timings), _spread(timings)
    errors = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
    axes.errorbar([value], [row], xerr=errors, color=INK, linewidth=1.1)
    text = f"{figure(value)} {DOUBTFUL}" if _is_doubtful(timings) else figure(value)
    axes.annotate(
        text, (max(value, high), row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=SMALL,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )  # fmt: skip


def _open_markers(axes: Axes, points: Iterable[tuple[float, float, Timing]], results: Results, name: str) -> None:
    """Points with a warning, drawn again with nothing inside."""
    doubted = [(x, y) for x, y, timing in points if timing.warnings]
    if doubted:
        look = look_of(results, name).options() | {"linestyle": "none", "markerfacecolor": "white", "zorder": 3}
        axes.plot(*zip(*doubted, strict=True), **look)


def _growth(timings: Sequence[Timing], exponent: float | None, memory: Sequence[float]) -> Iterator[str]:
    """What is seen of one contender, in words."""
    if exponent is not None:
        yield f"time grows as length^{exponent:.2f}"
    yield f"RTF {figure(timings[-1].rtf)} at {timings[-1].case.seconds:g} s"
    if memory:
        yield f"{min(memory):.0f} to {max(memory):.0f} MB"


def _clips(timings: Sequence[Timing]) -> str:
    """What was passed through, in words."""
    lengths = sorted({each.case.seconds for each in timings})
    if len(lengths) == 1:
        return f"clips of {lengths[0]:.3g} s"
    return f"{len(lengths)} utterances of {lengths[0]:.3g} to {lengths[-1]:.3g} s, sum / sum"


def _is_doubtful(timings: Iterable[Timing]) -> bool:
    return any(each.warnings for each in timings)
