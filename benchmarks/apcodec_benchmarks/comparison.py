"""Two results side by side: what changed, whether that is more than their spread, and whether it got worse."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

Verdict = Literal["same", "better", "worse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure, before and after.

    Attributes:
        what: Of whom and of what, in words.
        before: The figure in the first results.
        after: In the second.
        change: Relative change of a time, absolute change of a metric; above 0 is worse.
        spread: The changes that the middle halves of the calls allow, for times.
        verdict: ``worse`` and ``better`` only beyond the tolerance and, for times, where the middle halves do not meet.
    """

    what: str
    before: float
    after: float
    change: float
    spread: tuple[float, float] | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All figures that two results share.

    Attributes:
        changes: One for each.
        notes: What a reader should know before believing them: other machines, versions, weights.
        missing: What only one of them holds.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def regressions(self) -> list[Change]:
        """What got worse."""
        return [change for change in self.changes if change.verdict == "worse"]


def compare(before: Results, after: Results, *, tolerance: float = 0.05, relative_to: str | None = None) -> Comparison:
    """Compare figures of the same thing.

    Args:
        before: The first results.
        after: The second.
        tolerance: The share by which a time may grow. Of a metric's mean, a ``notable`` change counts.
        relative_to: A contender that ran in both: times are divided by its own of the same case, which takes out what
            the machine did meanwhile. ``ceiling`` divides by the machine's own matrix product.

    Raises:
        BenchmarkError: They share nothing, or not that contender.
    """
    old, new = ({timing.key: timing for timing in results.timings} for results in (before, after))
    changes = [
        _of_times(
            old[key], new[key], (_unit(before, old, key, relative_to), _unit(after, new, key, relative_to)), tolerance
        )
        for key in old.keys() & new.keys()
        if key[0] != relative_to
    ]
    changes.sort(key=lambda change: change.what)
    changes += _of_metrics(before, after)
    if not changes:
        raise BenchmarkError("the two results share no figure; measure the same contenders in the same modes")
    missing = [
        f"only in the {which}: {_said(timing)}"
        for which, own, other in (("first", old, new), ("second", new, old))
        for key, timing in sorted(own.items(), key=lambda item: str(item[0]))
        if key not in other
    ]
    return Comparison(changes=tuple(changes), notes=tuple(_notes(before, after)), missing=tuple(missing))


def _unit(results: Results, timings: Mapping[tuple[Any, ...], Timing], key: tuple[Any, ...], name: str | None) -> float:
    """What a time of this case is divided by."""
    if name is None:
        return 1.0
    if name == "ceiling":
        rates = [each.rate for each in results.ceilings if each.operation == "product" and each.threads == key[2]]
        if not rates:
            raise BenchmarkError("the results hold no ceiling to be relative to; leave out --relative-to")
        return 1e9 / rates[0]
    other = timings.get((name, *key[1:]))
    if other is None:
        raise BenchmarkError(f"{name} was not timed in every case of both results; leave out --relative-to")
    return other.times.median


def _of_times(old: Timing, new: Timing, units: tuple[float, float], tolerance: float) -> Change:
    before, after = old.rtf / units[0], new.rtf / units[1]
    ratio = units[0] / units[1]
    (old_low, old_high), (new_low, new_high) = old.times.spread, new.times.spread
    spread = new_low / old_high * ratio - 1, new_high / old_low * ratio - 1
    change = after / before - 1
    verdict: Verdict = "same"
    if change > tolerance and spread[0] > 0:
        verdict = "worse"
    elif change < -tolerance and spread[1] < 0:
        verdict = "better"
    return Change(what=_said(new), before=before, after=after, change=change, spread=spread, verdict=verdict)


def _of_metrics(before: Results, after: Results) -> Iterator[Change]:
    """Means over the files that both hold."""
    old, new = ({(row.contender, row.file): row.metrics for row in each.quality} for each in (before, after))
    shared = sorted(old.keys() & new.keys())
    for contender in dict.fromkeys(contender for contender, _ in shared):
        for name, metric in METRICS.items():
            pairs = [
                (old[key][name], new[key][name])
                for key in shared
                if key[0] == contender and name in old[key] and name in new[key]
            ]
            if not pairs:
                continue
            first, second = (statistics.fmean(values) for values in zip(*pairs, strict=True))
            worse = (first - second) if metric.higher_is_better else (second - first)
            verdict: Verdict = "same"
            if abs(worse) > metric.notable:
                verdict = "worse" if worse > 0 else "better"
            yield Change(
                what=f"{contender}, {metric.title}, mean of {len(pairs)} files",
                before=first,
                after=second,
                change=worse,
                spread=None,
                verdict=verdict,
            )


def _notes(before: Results, after: Results) -> Iterator[str]:
    for what, get in (
        ("CPU", lambda results: results.environment["cpu"]["name"]),
        ("GPU", lambda results: ", ".join(gpu["name"] for gpu in results.environment["gpus"]) or "none"),
        ("versions", lambda results: results.environment["packages"]),
        ("schedule", lambda results: results.settings.get("schedule")),
    ):
        first, second = get(before), get(after)
        if first != second:
            yield f"the {what} differ: {_difference(first, second)}"
    for record in after.contenders:
        other = next((each for each in before.contenders if each.name == record.name), None)
        if other is None or other.facts is None or record.facts is None:
            continue
        if other.facts.weights_hash != record.facts.weights_hash:
            yield f"{record.name} has other weights"
    old, new = (
        {each.threads: each.rate for each in results.ceilings if each.operation == "product"}
        for results in (before, after)
    )
    for threads in sorted(old.keys() & new.keys()):
        change = new[threads] / old[threads] - 1
        if abs(change) > 0.1:
            yield (
                f"the machine itself was {abs(change):.0%} {'faster' if change > 0 else 'slower'} the second time "
                f"({threads} threads, matrix product); --relative-to ceiling takes that out"
            )


def _difference(first: Any, second: Any) -> str:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
        return ", ".join(f"{name} {first.get(name)} and {second.get(name)}" for name in names)
    return f"{first} and {second}"


def _said(timing: Timing) -> str:
    return f"{timing.contender}, {timing.mode}, {timing.case}, {timing.threads} thread{'s' * (timing.threads > 1)}"
