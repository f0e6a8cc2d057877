"""The roofline plot: what each stage achieves, under what this machine can do at best.

The model is that of Williams, Waterman and Patterson, Roofline, Communications of the ACM 52(4), 2009: no stage
computes faster than min(the product's FLOP/s, FLOP per byte × the copy's bytes/s).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apcodec_benchmarks.report.plot_sheet import (
    INK,
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
    from matplotlib.transforms import Bbox

_GIGA = 1e9
_NEAR = 26.0
"""Points of the same stage that are no further apart, in typographic points, share a label."""
_MARKER = 6.0
_PLACES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The ceilings of one number of threads: FLOP/s and bytes/s."""

    threads: int
    product: float
    copy: float
    precision: str

    @property
    def ridge(self) -> float:
        """FLOP per byte above which computing limits, not memory."""
        return self.product / self.copy

    def at(self, intensity: float) -> float:
        """The most FLOP/s at some FLOP per byte."""
        return min(self.product, intensity * self.copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A stage: FLOP per byte, FLOP/s."""

    contender: str
    stage: str
    threads: int
    intensity: float
    rate: float


def roofs_of(results: Results) -> dict[int, Roof]:
    """The roofs, by threads, where both ceilings were measured."""
    found = {}
    for threads in dict.fromkeys(each.threads for each in results.ceilings):
        own = {each.operation: each for each in reversed(results.ceilings) if each.threads == threads}
        if {"product", "copy"} <= set(own) and min(own["product"].rate, own["copy"].rate) > 0:
            found[threads] = Roof(
                threads=threads,
                product=own["product"].rate,
                copy=own["copy"].rate,
                precision=own["product"].precision,
            )
    return found


def points_of(results: Results) -> list[Point]:
    """The stages of which arithmetic, traffic and time are known, and that compute at all."""
    return [
        Point(
            contender=each.contender,
            stage=each.stage,
            threads=each.threads,
            intensity=each.flops / each.bytes,
            rate=each.flops / each.times.median,
        )
        for each in results.stages
        if each.flops and each.bytes and each.times.median > 0
    ]


def roofline_plot(results: Results) -> Figure | None:
    """Achieved GFLOP/s over FLOP per byte, stage by stage, under the roofs of the same numbers of threads."""
    roofs = roofs_of(results)
    points = [each for each in points_of(results) if each.threads in roofs]
    if not points:
        return None
    roofs = {threads: roof for threads, roof in roofs.items() if any(each.threads == threads for each in points)}
    sheet = new_figure()
    axes = sheet.add_subplot()
    intensities = [each.intensity for each in points] + [roof.ridge for roof in roofs.values()]
    rates = [each.rate for each in points] + [roof.product for roof in roofs.values()]
    left, right = min(intensities) / 4, max(intensities) * 4
    logarithmic(axes, "x", left, right)
    logarithmic(axes, "y", min(rates) / _GIGA / 3, max(rates) / _GIGA * 2.5)
    legend = []
    for roof, line in zip(roofs.values(), ("-", "--", ":", "-.") * len(roofs), strict=False):
        corners = (left, roof.ridge, right)
        (drawn,) = axes.plot(corners, [roof.at(x) / _GIGA for x in corners], color=INK, linestyle=line, linewidth=1.8)
        legend.append(
            (
                drawn,
                f"ceilings, {threads_of(roof.threads)}: matrix product {roof.product / _GIGA:.3g} GFLOP/s "
                f"({roof.precision}), copy {roof.copy / _GIGA:.3g} GB/s",
            )
        )
    names = list(dict.fromkeys(each.contender for each in points))
    for place, name in enumerate(names):
        own = [each for each in points if each.contender == name]
        # The same stages often lie at one place: the smaller ones stand before the larger ones.
        look = look_of(results, name).options() | {"linestyle": "none", "markeredgecolor": "white"}
        look["markersize"] += max(0, 6 - 3 * place)
        places = ([each.intensity for each in own], [each.rate / _GIGA for each in own])
        (drawn,) = axes.plot(*places, **look, zorder=3, clip_on=False)
        legend.append((drawn, label_of(results, name)))
    axes.set(xlabel="arithmetic intensity, FLOP per byte that must be moved at least", ylabel="achieved, GFLOP/s")
    seconds = sorted({each.seconds for each in results.stages})
    finish(
        sheet,
        height=340,
        title="Roofline: how near each stage comes to what this machine can do",
        about=[
            f"stages of a round trip, clip of {', '.join(f'{each:g}' for each in seconds)} s, by the median of the "
            "calls; both axes logarithmic",
            "lines: the lesser of the product's FLOP/s and intensity × the copy's bytes/s, both measured in the same "
            "rounds",
        ],
        notes=notes_of(results, names),
        legend=legend,
    )
    sheet.draw_without_rendering()  # so that places on the sheet are known
    _place_labels(axes, points, list(roofs.values()))
    return sheet


def _place_labels(axes: Axes, points: Sequence[Point], roofs: Sequence[Roof]) -> None:
    """Write each stage's name beside its markers, where it covers least."""
    spots = {point: _spot(axes, point.intensity, point.rate) for point in points}
    left, right = axes.get_xlim()
    roof_spots = [
        _spot(axes, x, roof.at(x))
        for roof in roofs
        for x in (left * (right / left) ** (step / 150) for step in range(151))
    ]
    taken: list[Bbox] = []
    for stage, group in _clusters(spots):
        label = axes.annotate(stage, (0, 0), xycoords="figure points", fontsize=SMALL, color=INK, zorder=4)
        size = label.get_window_extent()
        xs, ys = [x for x, _ in group], [y for _, y in group]
        boxes = [
            _beside(min(xs), max(xs), min(ys), max(ys), size.width, size.height, across, up) for across, up in _PLACES
        ]
        obstacles = [*spots.values(), *roof_spots]
        best = min(boxes, key=lambda box: _covered(box, obstacles, taken, axes.bbox))
        label.set_position((best.x0, best.y0 - size.y0))
        taken.append(best)


def _spot(axes: Axes, intensity: float, rate: float) -> tuple[float, float]:
    x, y = axes.transData.transform((intensity, rate / _GIGA))
    return float(x), float(y)


def _clusters(spots: dict[Point, tuple[float, float]]) -> list[tuple[str, list[tuple[float, float]]]]:
    """Places of the same stage that are near to each other, together."""
    clusters: list[tuple[str, list[tuple[float, float]]]] = []
    for point, spot in spots.items():
        for stage, group in clusters:
            if stage == point.stage and any(math.dist(spot, each) <= _NEAR for each in group):
                group.append(spot)
                break
        else:
            clusters.append((point.stage, [spot]))
    return clusters


def _beside(
    left: float, right: float, bottom: float, top: float, width: float, height: float, across: int, up: int
) -> Bbox:
    """A box of some size beside a group of markers: to its left, right or neither, above, below or neither."""
    from matplotlib.transforms import Bbox

    gap = _MARKER + 2
    x = {1: right + gap, -1: left - gap - width, 0: (left + right - width) / 2}[across]
    y = {1: top + gap, -1: bottom - gap - height, 0: (bottom + top - height) / 2}[up]
    return Bbox.from_bounds(x, y, width, height)


def _covered(box: Bbox, spots: Iterable[tuple[float, float]], taken: Iterable[Bbox], inside: Bbox) -> int:
    """How much a label in this box would cover; what lies outside the axes is worst."""
    wide = box.padded(_MARKER)
    covered = sum(bool(wide.contains(*spot)) for spot in spots)
    covered += 10 * sum(bool(box.padded(2).overlaps(each)) for each in taken)
    outside = bool(box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1)
    return covered + 1000 * outside
