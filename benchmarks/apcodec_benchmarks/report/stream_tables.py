"""Tables of live use: a push to one stream, how many streams are carried, streams that come and go, the pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.modes import PIPE, PUSH, SESSIONS, SOAK
from apcodec_benchmarks.report.cells import MEGA, NOTHING, figure, share, table, title_of
from apcodec_benchmarks.results import Results

Table = Callable[[Sequence[Timing], Results], str]
LATE = "late"
"""Behind a time of which p99 is above the audio that was pushed."""


def is_live(results: Results) -> bool:
    """Whether live use was measured."""
    return any(each.mode == PUSH for each in results.timings)


def tokens_of(results: Results, timing: Timing) -> int:
    """Columns of codes of a push."""
    return round(timing.case.seconds / frame_of(results, timing.contender))


def frame_of(results: Results, name: str) -> float:
    """Seconds of a contender's frame."""
    facts = results.contender(name).facts
    assert facts is not None, "what was timed is known"
    return facts.frame / facts.sample_rate


def in_time(timing: Timing) -> bool:
    """Whether all but one of a hundred pushes end before the next audio is there."""
    return timing.times.p99 < timing.case.seconds


def carried(timings: Sequence[Timing]) -> Timing:
    """Of one contender's pushes to ever more streams the largest in time; the one to a single stream where none is."""
    return max((each for each in timings if in_time(each)), key=lambda each: each.case.batch, default=timings[0])


def push_table(timings: Sequence[Timing], results: Results, names: Sequence[str] | None = None) -> str:
    """Frame, algorithmic delay, and milliseconds of a push by tokens, a row for each contender and number of threads.

    Args:
        timings: Of the mode.
        results: All.
        names: The contenders that are shown; all, also those that did not run, where None.
    """
    counts = sorted({tokens_of(results, each) for each in timings})
    rows = []
    for record in results.contenders:
        if names is not None and record.name not in names:
            continue
        own = [each for each in timings if each.contender == record.name]
        if record.facts is None or not own:
            rows.append([title_of(results, record.name), *[NOTHING] * (4 + len(counts))])
            continue
        frame = frame_of(results, record.name)
        for threads in sorted({each.threads for each in own}):
            found = {tokens_of(results, each): each for each in own if each.threads == threads}
            latency = record.facts.latency
            rows.append(
                [
                    title_of(results, record.name),
                    figure(1000 * frame),
                    figure(None if latency is None else 1000 * latency),
                    str(threads),
                    *(_push(found[count]) if count in found else NOTHING for count in counts),
                    share(found[1].times.median / frame if 1 in found else None),
                ]
            )
    pushed = [f"{count} token{'s' * (count > 1)}" for count in counts]
    head = [
        "ms a push, median / p99",
        "frame, ms",
        "algorithmic delay, ms",
        "threads",
        *pushed,
        "1 token, of the frame",
    ]
    return table(head, rows)


def sessions_table(timings: Sequence[Timing], results: Results) -> str:
    """The most streams, by tokens a push."""
    counts = sorted({tokens_of(results, each) for each in timings})
    rows = []
    for name in dict.fromkeys(each.contender for each in timings):
        row = [title_of(results, name)]
        for count in counts:
            own = [each for each in timings if each.contender == name and tokens_of(results, each) == count]
            row.append(_carried(own) if own else NOTHING)
        rows.append(row)
    threads = timings[0].threads
    pushed = [f"{count} token{'s' * (count > 1)} a push" for count in counts]
    return table([f"most streams in time, with their p99; threads: {threads}", *pushed], rows)


def soak_table(timings: Sequence[Timing], results: Results) -> str:
    """Very many pushes to streams that come and go."""
    return _distributions(timings, results, {"pushes": lambda each: str(results.settings.get("soak", NOTHING))})


def pipe_table(timings: Sequence[Timing], results: Results) -> str:
    """From the last sample of a token until it is heard, through two processes and a pipe."""
    return _distributions(timings, results, {"tokens": lambda each: str(len(each.times.values))})


def _distributions(timings: Sequence[Timing], results: Results, counted: Mapping[str, Callable[[Timing], str]]) -> str:
    rows = [
        [
            title_of(results, each.contender),
            str(each.threads),
            *(count(each) for count in counted.values()),
            figure(1000 * each.times.median),
            figure(1000 * each.times.p99),
            figure(1000 * max(each.times.values)),
            figure(None if each.memory is None else each.memory / MEGA),
        ]
        for each in timings
    ]
    return table(["contender", "threads", *counted, "median, ms", "p99, ms", "longest, ms", "peak MB"], rows)


def _push(timing: Timing) -> str:
    times = f"{figure(1000 * timing.times.median)} / {figure(1000 * timing.times.p99)}"
    return times if in_time(timing) else f"{times} {LATE}"


def _carried(timings: Sequence[Timing]) -> str:
    most = carried(timings)
    count = most.case.batch if in_time(most) else 0
    return f"{count} ({figure(1000 * most.times.p99)} of {figure(1000 * most.case.seconds)} ms)"


LIVE_TABLES: dict[str, Table] = {
    PUSH: push_table,
    SESSIONS: sessions_table,
    SOAK: soak_table,
    PIPE: pipe_table,
}
"""By mode."""
