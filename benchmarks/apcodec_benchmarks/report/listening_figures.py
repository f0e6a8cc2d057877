"""What the listening page says in figures: its header, its table of contenders and its chart of speed, as HTML."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apcodec_benchmarks.measurements import ContenderRecord, Quality, Timing
from apcodec_benchmarks.results import Results

ORIGINAL = "Original"
RANDOM = "random weights: speed counts, quality does not"
_NOTHING = "–"
_RTF_ABOUT = (
    "RTF: compute time / audio time of a round trip, by the median of all calls; below 1 is faster than playing."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricColumn:
    """A metric as the page shows it.

    Attributes:
        name: Its key in ``Quality.metrics``.
        title: For people.
        higher_is_better: None where neither is, and nothing is emphasised.
        digits: After the point.
        about: What it is, in one line.
    """

    name: str
    title: str
    higher_is_better: bool | None = None
    digits: int = 3
    about: str = ""


def shown(value: object) -> str:
    """Text that any encoding of Unicode can hold: what a file name has beyond it is written as ``\\udcff``."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def escaped(value: object) -> str:
    """Text for HTML, between tags or within the quotes of an attribute."""
    return html.escape(shown(value))


def columns_of(results: Results) -> tuple[MetricColumn, ...]:
    """A column for each metric that the results hold, as they name it."""
    names = dict.fromkeys(name for row in results.quality for name in row.metrics)
    return tuple(MetricColumn(name=name, title=name) for name in names)


def title_of(record: ContenderRecord) -> str:
    """What people call a contender."""
    return record.facts.title if record.facts else record.name


def is_ranked(record: ContenderRecord | None) -> bool:
    """Whether a contender's quality says anything about its codec."""
    return record is None or (record.problem is None and (record.facts is None or record.facts.weights != "random"))


def best(values: Mapping[str, float | None], column: MetricColumn) -> set[str]:
    """Whose values are best, as far as the digits show; nobody where there is nothing to compare."""
    known = {
        name: round(value, column.digits) if math.isfinite(value) else value
        for name, value in values.items()
        if value is not None and not math.isnan(value)
    }
    if len(known) < 2 or column.higher_is_better is None:
        return set()
    top = max(known.values()) if column.higher_is_better else min(known.values())
    return {name for name, value in known.items() if value == top}


def number(value: float | None, digits: int) -> str:
    """A metric's value for people."""
    if value is None or math.isnan(value):
        return _NOTHING
    return f"{round(value, digits) + 0.0:.{digits}f}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def rate(hertz: float) -> str:
    """A sample rate for people."""
    return f"{hertz / 1000:g} kHz"


def _significant(value: float) -> str:
    """Three digits that mean something, without an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def timings_of(speed: Results) -> dict[str, Timing]:
    """One timing of each contender, all of the same case: the round trip that most of them were timed in."""
    cases: dict[tuple[Any, ...], dict[str, Timing]] = {}
    for timing in speed.timings:
        if timing.case.operation == "round_trip" and timing.case.clock == "host":
            cases.setdefault(timing.key[1:], {}).setdefault(timing.contender, timing)
    # Of cases with equally many: one clip at a time, and the longest.
    return max(
        cases.values(),
        key=lambda case: (len(case), *max((-each.case.batch, each.case.seconds) for each in case.values())),
        default={},
    )


def _case_words(timings: Mapping[str, Timing]) -> str:
    timing = next(iter(timings.values()))
    clips = "one clip" if timing.case.batch == 1 else f"{timing.case.batch} clips"
    threads = "1 CPU thread" if timing.threads == 1 else f"{timing.threads} CPU threads"
    file = f" ({timing.case.file})" if timing.case.file else ""
    return f"{clips} of {timing.case.seconds:g} s at a time{file}, {threads}, mode {timing.mode}"


def header(results: Results, speed: Results | None, clips: int) -> str:
    """What was compared, when, on what."""
    ran = sum(record.problem is None for record in results.contenders)
    what = f"{ran} of {len(results.contenders)} contenders on {clips} {'clip' if clips == 1 else 'clips'}"
    one_file = "Everything is in this one file; nothing is loaded from or sent to anywhere."
    parts = [f"<p>{what}, made {_time(results.made)}. {one_file}</p>"]
    runs = {"Machine, versions, settings": results}
    if speed is not None and speed is not results:
        runs["The same of the speed"] = speed
    for name, each in runs.items():
        rows = [("made", each.made), ("command", each.command), *_flat(each.environment), *_flat(each.settings)]
        items = "".join(f"<div><dt>{escaped(key)}</dt><dd>{escaped(value)}</dd></div>" for key, value in rows)
        parts.append(f'<details><summary>{name}</summary><dl class="facts">{items}</dl></details>')
    return "\n".join(parts)


def _time(made: str) -> str:
    try:
        moment = datetime.fromisoformat(made)
    except ValueError:
        return escaped(made)
    return f'<time datetime="{escaped(made)}">{moment:%Y-%m-%d %H:%M}</time>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Values within values, each with its whole name."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(str(each) for each in value) or _NOTHING
        else:
            yield name, _NOTHING if value is None else str(value)


def definitions(columns: Sequence[MetricColumn], timed: bool) -> str:
    """How the figures are defined, one line each."""
    lines = [_RTF_ABOUT] if timed else []
    for column in columns:
        direction = {True: " Higher is better.", False: " Lower is better.", None: ""}[column.higher_is_better]
        if column.about or direction:
            lines.append(f"{column.title}: {column.about}{direction}")
    lines += [
        "Codes: the share that equals those of another contender, from the first codebook to the last.",
        "Level: of the whole clip beside the original's. Levels are unchanged; a louder one often seems better.",
    ]
    return "<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in lines) + "</ul>"


@dataclass(frozen=True, slots=True)
class _Means:
    """A contender's metrics over its files, and how many files each was computed for."""

    values: Mapping[str, float]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, rows: Sequence[Quality]) -> _Means:
        found: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row.metrics.items():
                if not math.isnan(value):
                    found.setdefault(name, []).append(value)
        means = {name: statistics.fmean(values) for name, values in found.items()}
        return cls(means, {name: len(values) for name, values in found.items()})


def table(results: Results, speed: Results | None, columns: Sequence[MetricColumn]) -> str:
    """One row per contender, the best of each column emphasised among those that can be compared.

    Quality of random weights is shown and not ranked, nor is a mean over fewer files than others have.
    """
    timings = timings_of(speed) if speed else {}
    means = {
        record.name: _Means.of([row for row in results.quality if row.contender == record.name and not row.problem])
        for record in results.contenders
    }
    full = {
        column.name: max((each.counts.get(column.name, 0) for each in means.values()), default=0) for column in columns
    }
    winners = {
        column.name: best(
            {
                record.name: means[record.name].values.get(column.name)
                for record in results.contenders
                if is_ranked(record) and means[record.name].counts.get(column.name) == full[column.name]
            },
            column,
        )
        for column in columns
    }
    ran = {record.name for record in results.contenders if record.problem is None}
    rtf = {name: float(_significant(timing.rtf)) for name, timing in timings.items() if name in ran}
    fastest = {name for name, value in rtf.items() if len(rtf) > 1 and value == min(rtf.values())}
    head = ["Contender", "Bitrate", "Rate", "Weights", *(column.title for column in columns), *(["RTF"] * bool(rtf))]
    lines = ["<thead><tr>" + "".join(f'<th scope="col">{escaped(each)}</th>' for each in head) + "</tr></thead>"]
    for record in results.contenders:
        cells = [_who(record)]
        if record.problem is not None:
            cells.append(f'<td class="problem" colspan="{len(head) - 1}">did not run: {escaped(record.problem)}</td>')
        else:
            cells += _facts(record, [row for row in results.quality if row.contender == record.name])
            for column in columns:
                cells.append(_mean(record, means[record.name], column, full[column.name], winners[column.name]))
            if rtf:
                timing = timings.get(record.name)
                text = _significant(timing.rtf) if timing else _NOTHING
                cells.append(_cell(text, record.name in fastest, "; ".join(timing.warnings) if timing else ""))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    files = len({row.file for row in results.quality})
    caption = f"Metrics are means over {files} {'file' if files == 1 else 'files'}; the best of a column is bold."
    if rtf:
        caption += f" RTF: {_case_words(timings)}."
    return (
        f'<div class="wide" role="region" aria-labelledby="summary" tabindex="0"><table>{"".join(lines)}</table></div>'
        f'<p class="about">{escaped(caption)}</p>'
    )


def _who(record: ContenderRecord) -> str:
    small = [record.name] if record.facts else []
    if record.facts:
        small += [record.facts.library, record.facts.precision, record.facts.device, *record.facts.notes]
    words = f"<small>{escaped(' · '.join(small))}</small>" if small else ""
    return f'<th scope="row"><bdi>{escaped(title_of(record))}</bdi>{words}</th>'


def _facts(record: ContenderRecord, rows: Sequence[Quality]) -> list[str]:
    facts = record.facts
    if facts is None:
        return [_cell(_NOTHING)] * 3
    measured = [row.bitrate for row in rows if not row.problem and row.bitrate > 0]
    note = ""
    if measured and facts.bitrate > 0 and abs(statistics.fmean(measured) / facts.bitrate - 1) > 0.02:
        note = f"measured: {statistics.fmean(measured) / 1000:.3g}"
    weights = {"random": RANDOM, "none": "none needed"}.get(facts.weights, facts.weights)
    kind = ' class="random"' if facts.weights == "random" else ""
    bitrate = _cell(f"{facts.bitrate / 1000:.3g} kbit/s", note=note)
    return [bitrate, _cell(rate(facts.sample_rate)), f"<td{kind}>{escaped(weights)}</td>"]


def _mean(record: ContenderRecord, means: _Means, column: MetricColumn, full: int, winners: set[str]) -> str:
    count = means.counts.get(column.name, 0)
    note = f"{count} of {full} files, not ranked" if 0 < count < full else ""
    text = number(means.values.get(column.name), column.digits)
    return _cell(text, record.name in winners, note, unranked=not is_ranked(record))


def _cell(text: str, bold: bool = False, note: str = "", *, unranked: bool = False) -> str:
    words = f"<strong>{escaped(text)}</strong>" if bold else escaped(text)
    kind = ' class="unranked"' if unranked else ""
    return f"<td{kind}>{words}" + (f"<small>{escaped(note)}</small>" if note else "") + "</td>"


def chart(results: Results, speed: Results | None) -> str:
    """Bars of the RTF, with the middle half of the calls; empty where there is no speed."""
    timings = timings_of(speed) if speed else {}
    known = [record for record in results.contenders if record.name in timings and record.problem is None]
    if not known:
        return ""
    spreads = {
        record.name: [each / timings[record.name].case.audio_seconds for each in timings[record.name].times.spread]
        for record in known
    }
    bars, longest = [], max(max(spreads[record.name][1], timings[record.name].rtf) for record in known)
    for record in known:
        value, (low, high) = timings[record.name].rtf, spreads[record.name]
        marks = f'<rect class="bar" width="{100 * value / longest:.2f}%" height="100%"/>'
        marks += f'<line x1="{100 * low / longest:.2f}%" x2="{100 * high / longest:.2f}%" y1="50%" y2="50%"/>'
        if longest >= 1:
            marks += f'<line class="real-time" x1="{100 / longest:.2f}%" x2="{100 / longest:.2f}%" y1="0" y2="100%"/>'
        bars.append(
            f"<dt><bdi>{escaped(title_of(record))}</bdi></dt>"
            f'<dd><svg aria-hidden="true">{marks}</svg><span>{_significant(value)}</span></dd>'
        )
    words = f"RTF, shorter is faster: {_case_words(timings)}. Lines: the middle half of the calls."
    words += " Dashed: 1, as fast as playing." if longest >= 1 else ""
    return f'<figure class="speed"><figcaption>{escaped(words)}</figcaption><dl>{"".join(bars)}</dl></figure>'
