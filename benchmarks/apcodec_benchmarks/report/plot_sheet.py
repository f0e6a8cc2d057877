"""What all plots are made of: style and colours, a sheet with heading, legend and notes around axes, and its SVG.

Texts stand outside the axes at places counted in points, so that none covers data. Widths are those of DejaVu Sans;
where a viewer lacks it, the fonts named after it are as wide or narrower. One point is 4/3 px where a browser shows the
file at its own size: a sheet is 800 px wide.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apcodec_benchmarks.report.cells import MARK, figure, title_of
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

RTF = "RTF = compute time / audio time"
MIDDLE_HALF = "error bars: their middle half"
NAME_CHARACTERS = 46
"""Of a name beside a bar, before it is broken into lines."""
DOUBTFUL, OPEN = "(?)", "open markers"
"""How a figure is marked that has a warning in the results: as text, as a point."""
INK, QUIET = "#222222", "#595959"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito, Color Universal Design, 2008; without yellow, which is hard to see on white."""
_MARKERS = "osD^vPX*"
"""One more than colours, so that no two of 56 contenders share both."""
_LINES = ("-", "--", "-.", ":")
_WIDTH, _MARGIN = 600.0, 12.0
TITLE, TEXT, SMALL = 13.0, 10.0, 9.0
_LEADING = 1.4
_CHARACTER, _BOLD = 0.53, 0.61
"""Mean widths of characters, as shares of the font's size."""
_LEGEND_HANDLE, _GAP = 30.0, 8.0
_STEPS = ((8.0, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)), (150.0, (1.0, 2.0, 5.0)), (3000.0, (1.0, 3.0)), (math.inf, (1.0,)))
"""Where numbers stand in each decade of an axis that spans no more than such a ratio."""
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "apcodec",
    "figure.dpi": 72,
    "figure.facecolor": "white",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Segoe UI", "Helvetica", "Arial"],
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "errorbar.capsize": 2.5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a contender is drawn, in all plots of the same results."""

    colour: str
    marker: str
    line: str

    def options(self) -> dict[str, Any]:
        """For ``Axes.plot`` and ``Axes.errorbar``."""
        size = 10 if self.marker == "*" else 6  # a star looks smaller than it is
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": size,
            "linestyle": self.line,
            "linewidth": 1.6,
        }


@contextmanager
def style() -> Iterator[None]:
    """Draw in our style, whatever the user's is; afterwards that is as it was.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="bench")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # text stays text: the viewer may well have it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure() -> Figure:
    """A figure of its own, known to no pyplot, that measures text as SVG does. ``finish`` gives it its size."""
    made: Figure = require("matplotlib.figure", extra="bench").Figure()
    require("matplotlib.backends.backend_svg", extra="bench").FigureCanvasSVG(made)
    return made


def finish(
    sheet: Figure,
    *,
    height: float,
    title: str,
    about: Sequence[str],
    notes: Iterable[str] = (),
    legend: Sequence[tuple[Any, str]] = (),
) -> Figure:
    """Put heading, legend and notes around what has been drawn.

    Args:
        sheet: What ``new_figure`` gave, with axes.
        height: Of the axes with their labels, in points.
        title: What is shown.
        about: Sentences below it: definitions, what was timed.
        notes: Sentences at the foot.
        legend: What was drawn, each with its name.
    """
    heads = _lines(title, TITLE * _BOLD)
    abouts, feet = ([line for each in texts for line in _lines(each, SMALL * _CHARACTER)] for texts in (about, notes))
    labels = [
        "\n".join(_lines(label, SMALL * _CHARACTER, _WIDTH - 2 * _MARGIN - _LEGEND_HANDLE)) for _, label in legend
    ]
    longest = max((len(label) * SMALL * _CHARACTER for label in labels), default=0.0)
    columns = 2 if longest < _WIDTH / 2 - _MARGIN - _LEGEND_HANDLE else 1
    rows = sum(label.count("\n") + 1 for label in labels) if columns == 1 else -(-len(labels) // 2)
    line_height = _LEADING * SMALL
    above = _MARGIN + _LEADING * len(heads) * TITLE + line_height * len(abouts) + _GAP
    feet_height = line_height * len(feet) + _MARGIN - 3  # what the last line's leading leaves
    below = _GAP + (line_height * rows + _GAP if labels else 0) + feet_height
    total = above + height + below
    sheet.set_size_inches(_WIDTH / 72, total / 72)
    side = _MARGIN / _WIDTH
    sheet.set_layout_engine("constrained", rect=(side, below / total, 1 - 2 * side, height / total), h_pad=0, w_pad=0)
    top = total - _MARGIN
    for lines, size, weight, colour in ((heads, TITLE, "bold", INK), (abouts, SMALL, "normal", QUIET)):
        for line in lines:
            sheet.text(
                side, top / total, line, fontsize=size, weight=weight, color=colour, va="top", in_layout=False
            )  # fmt: skip
            top -= _LEADING * size
    for place, line in enumerate(feet):
        height_left = feet_height - place * line_height
        sheet.text(side, height_left / total, line, fontsize=SMALL, va="top", color=QUIET, in_layout=False)
    if labels:
        placed = sheet.legend(
            [handle for handle, _ in legend], labels, ncols=columns, loc="upper left", borderpad=0, borderaxespad=0,
            labelspacing=_LEADING - 1, columnspacing=1.5, bbox_to_anchor=(side, (below - _GAP) / total),
        )  # fmt: skip
        placed.set_in_layout(False)
    return sheet


def svg(sheet: Figure) -> str:
    """The text of its SVG, the same for the same sheet."""
    file = io.StringIO()
    sheet.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def look_of(results: Results, name: str) -> Look:
    """The look of a contender: by its place among those that were measured."""
    measured = {each.contender for each in results.timings} | {each.contender for each in results.stages}
    place = [record.name for record in results.contenders if record.name in measured].index(name)
    return Look(
        colour=COLOURS[place % len(COLOURS)],
        marker=_MARKERS[place % len(_MARKERS)],
        line=_LINES[place // len(COLOURS) % len(_LINES)],
    )


def label_of(results: Results, name: str) -> str:
    """A contender's title as XML can hold it, on one line."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in title_of(results, name))


def notes_of(results: Results, names: Iterable[str], *, doubtful: str | None = None) -> list[str]:
    """The foot of a plot of these contenders: what the marks mean, on what machine, with what.

    Args:
        results: What is drawn.
        names: The contenders that are.
        doubtful: How figures with a warning are marked, ``DOUBTFUL`` or ``OPEN``, if there are any.
    """
    notes = []
    if any(title_of(results, name).endswith(MARK) for name in names):
        notes.append(f"{MARK} random weights: speed counts, quality does not")
    if doubtful:
        notes.append(f"{doubtful}: not to be believed without the warning in the results")
    machine = results.environment
    processor = machine.get("cpu", {}).get("name")
    gpus = [gpu["name"] for gpu in machine.get("gpus", ())] if results.settings.get("device", "cpu") != "cpu" else []
    version = machine.get("apcodec-deploy")
    parts = [processor, *gpus, f"apcodec-deploy {version}" if version else None, results.made[:10]]
    return [*notes, ", ".join(part for part in parts if part)]


def threads_of(count: int) -> str:
    """A number of threads, in words."""
    return f"{count} thread{'s' * (count != 1)}"


def logarithmic(axes: Axes, which: str, low: float, high: float, ticks: Iterable[float] | None = None) -> None:
    """Make an axis logarithmic between two values, with plain numbers beside it.

    Args:
        axes: Whose.
        which: ``x`` or ``y``.
        low: Its beginning.
        high: Its end.
        ticks: Where numbers stand, as far as there is room; round ones if None.
    """
    ticker = require("matplotlib.ticker", extra="bench")
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    steps = next(steps for widest, steps in _STEPS if high / low <= widest)
    axis.set_major_locator(ticker.LogLocator(subs=steps) if ticks is None else ticker.FixedLocator(spaced(ticks)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: figure(value)))
    axis.set_minor_locator(ticker.NullLocator())


def spaced(values: Iterable[float], ratio: float = 1.3) -> list[float]:
    """Those values, ascending, of which each is at least ``ratio`` times the one before: their numbers do not touch."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value >= ratio * kept[-1]:
            kept.append(value)
    return kept


def _lines(text: str, character: float, width: float = _WIDTH - 2 * _MARGIN) -> list[str]:
    """Text in lines that fit, given the width of a character, in points."""
    return textwrap.wrap(text, int(width / character)) or [""]
