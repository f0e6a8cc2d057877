"""Tables of speed: one for each mode, one for the stages, one for the contenders."""

from __future__ import annotations

from collections.abc import Sequence

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.modes import DECODE, ENCODE, ROUND_TRIP, STREAM
from apcodec_benchmarks.report.cells import MEGA, NOTHING, figure, share, table, title_of
from apcodec_benchmarks.report.stream_tables import LIVE_TABLES, Table
from apcodec_benchmarks.results import Results


def contenders_table(results: Results) -> str:
    """What each contender is, how long it takes to start, what it holds, and who could not run."""
    gpu = any(each.device_memory is not None for each in results.timings)
    head = ["contender", "kHz", "kbit/s", "parameters, M", "GFLOP per s of audio", "precision", "loaded after, s"]
    head += ["1 s coded after, s", *(["GPU MB"] if gpu else [])]
    rows = []
    for record in results.contenders:
        facts = record.facts
        if facts is None:
            rows.append([record.name, *[NOTHING] * (len(head) - 1)])
            continue
        held = [each.device_memory for each in results.timings if each.contender == record.name]
        most = max((each for each in held if each is not None), default=None)
        rows.append(
            [
                title_of(results, record.name),
                f"{facts.sample_rate / 1000:g}",
                figure(facts.bitrate / 1000),
                figure(None if facts.parameters is None else facts.parameters / MEGA),
                figure(None if record.flops_per_second is None else record.flops_per_second / 1e9),
                facts.precision if facts.weights != "none" else NOTHING,
                figure(record.load_seconds),
                figure(record.first_seconds),
                *([figure(None if most is None else most / MEGA)] if gpu else []),
            ]
        )
    return table(head, rows)


def stages_table(results: Results) -> str:
    """Milliseconds of each stage, its share, what it computes, and how near to the machine's ceiling."""
    rows = []
    for name in dict.fromkeys(each.contender for each in results.stages):
        stages = [each for each in results.stages if each.contender == name]
        total = sum(each.times.median for each in stages)
        for each in stages:
            rows.append(
                [
                    title_of(results, name),
                    each.stage,
                    figure(1000 * each.times.median),
                    f"{each.times.median / total:.0%}",
                    figure(None if each.flops is None else each.flops / 1e9),
                    figure(None if each.bytes is None else each.bytes / MEGA),
                    share(each.ceiling_share),
                ]
            )
    seconds = results.stages[0].seconds
    head = ["contender", "stage", f"ms for {seconds:g} s", "of all", "GFLOP", "least MB", "of the ceiling"]
    return table(head, rows)


def mode_table(mode: str, timings: Sequence[Timing], results: Results) -> str:
    """The table of one mode; that of whole clips where it has none of its own."""
    return _TABLES.get(mode, _clip)(timings, results)


def _clip(timings: Sequence[Timing], results: Results) -> str:
    rows = []
    apart = any(each.case.operation != ROUND_TRIP for each in timings)
    for name in _names(timings):
        own = {each.case.operation: each for each in timings if each.contender == name}
        if (trip := own.get(ROUND_TRIP)) is None:
            continue
        low, high = (each / trip.case.audio_seconds for each in trip.times.spread)
        each_way = [figure(own[each].rtf) if each in own else NOTHING for each in (ENCODE, DECODE)]
        rows.append(
            [
                title_of(results, name),
                figure(trip.rtf),
                f"{figure(low)} to {figure(high)}",
                figure(trip.times.p95 / trip.case.audio_seconds),
                f"{figure(1 / trip.rtf)}x",
                *(each_way if apart else []),
                share(trip.ceiling_share),
                figure(None if trip.memory is None else trip.memory / MEGA),
                str(len(trip.times.values)),
            ]
        )
    first = timings[0]
    head = [f"{first.case.seconds:g} s clip, threads: {first.threads}", "RTF", "middle half", "p95", "speed"]
    directions = ["encode", "decode"] if apart else []
    return table([*head, *directions, "of the ceiling", "peak MB", "calls"], _by_speed(rows, 1))


def _paper(timings: Sequence[Timing], results: Results) -> str:
    apart = any(not each.case.copies for each in timings)
    rows = []
    for name in _names(timings):
        own = [each for each in timings if each.contender == name and each.case.copies]
        if not own:
            continue
        resident = [each for each in timings if each.contender == name and not each.case.copies]
        mean = sum(each.rtf for each in own) / len(own)
        figures = [figure(_sum_over_sum(own)), figure(mean), f"{figure(1 / _sum_over_sum(own))}x"]
        if apart:
            figures.append(figure(_sum_over_sum(resident)) if resident else NOTHING)
        rows.append([title_of(results, name), *figures])
    lengths = sorted(seconds for _, seconds in {(each.case.file, each.case.seconds) for each in timings})
    head = [f"{len(lengths)} utterances, {figure(lengths[0])} to {figure(lengths[-1])} s", "RTF, sum / sum"]
    head += ["RTF, mean of utterances", "speed", *(["RTF without copies"] if apart else [])]
    return table(head, _by_speed(rows, 1))


def _sum_over_sum(timings: Sequence[Timing]) -> float:
    return sum(each.times.median for each in timings) / sum(each.case.audio_seconds for each in timings)


def _milliseconds(timings: Sequence[Timing], results: Results) -> str:
    columns = list(dict.fromkeys((each.case.operation, each.case.seconds) for each in timings))
    rows = []
    for name in _names(timings):
        row = [title_of(results, name)]
        for operation, seconds in columns:
            own = [
                each
                for each in timings
                if (each.contender, each.case.operation, each.case.seconds) == (name, operation, seconds)
            ]
            row.append(
                f"{figure(1000 * own[0].times.mean)} ± {figure(1000 * own[0].times.deviation, 2)}" if own else NOTHING
            )
        rows.append(row)
    return table(["ms, mean ± deviation", *(f"{what} {figure(1000 * seconds)} ms" for what, seconds in columns)], rows)


def _throughput(timings: Sequence[Timing], results: Results) -> str:
    batches = sorted({each.case.batch for each in timings})
    rows = []
    for name in _names(timings):
        own = {each.case.batch: each for each in timings if each.contender == name}
        rows.append(
            [title_of(results, name), *(f"{figure(1 / own[b].rtf)}x" if b in own else NOTHING for b in batches)]
        )
    return table(["times real time, by batch", *map(str, batches)], rows)


def _length(timings: Sequence[Timing], results: Results) -> str:
    rows = [
        [
            title_of(results, each.contender),
            f"{each.case.seconds:g}",
            figure(each.times.median),
            figure(each.rtf),
            figure(None if each.memory is None else each.memory / MEGA),
        ]
        for each in timings
        if each.case.operation == STREAM
    ]
    return table(["contender", "clip, s", "seconds", "RTF", "peak MB"], rows)


def _names(timings: Sequence[Timing]) -> list[str]:
    return list(dict.fromkeys(each.contender for each in timings))


def _by_speed(rows: list[list[str]], column: int) -> list[list[str]]:
    return sorted(rows, key=lambda row: float(row[column]))


_TABLES: dict[str, Table] = {
    "paper": _paper,
    "window": _milliseconds,
    "engine": _milliseconds,
    "throughput": _throughput,
    "length": _length,
    **LIVE_TABLES,
}
"""By mode, where it is not about whole clips."""
