"""Rounds: every contender in turn does a case once, again and again, so that what the machine does meanwhile hits all.

What a shared machine gives drifts by more than codecs differ. A ratio of two figures is worth something where both were
measured in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from apcodec_benchmarks.measurements import Case, Distribution
from apcodec_benchmarks.workers.host import LATE
from apcodec_deploy.errors import BenchmarkError, ContenderError

_BURST_SECONDS = 0.02
"""Calls shorter than this are made several at a time, so that waking a process up is not what is measured."""
_MAX_BURST = 10
_SLOW = 2.5
"""Calls that take so many times the time of a case are made twice and no more: a third tells little for its price."""


class Timed(Protocol):
    """What rounds are made of: a ``Worker``, or in tests something of known cost."""

    def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
        """Seconds of some calls, and what was still to do after each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often a case is repeated: by count or by time, whichever is reached first.

    Attributes:
        warm_up_calls: Calls that do not count.
        warm_up_seconds: The time after which no further one of them is begun.
        calls: Calls that count.
        seconds: The time after which no further one of them is begun.
        least: Calls that count, whatever they take.
    """

    warm_up_calls: int = 10
    warm_up_seconds: float = 5.0
    calls: int = 30
    seconds: float = 30.0
    least: int = 3

    def __post_init__(self) -> None:
        if self.warm_up_calls < 0 or self.warm_up_seconds < 0 or self.calls < 1 or self.seconds <= 0 or self.least < 1:
            raise BenchmarkError(f"{self} repeats nothing; at least one call and a time above 0 s are expected")

    def __str__(self) -> str:
        return (
            f"warm-up {self.warm_up_calls} calls or {self.warm_up_seconds:g} s, then {self.calls} calls or "
            f"{self.seconds:g} s per contender and case, whichever comes first, at least {self.least}, "
            f"but {min(self.least, 2)} where a call takes more than {_SLOW * self.seconds:g} s"
        )


FULL = Schedule()
TABLE = Schedule(warm_up_seconds=1.0, seconds=2.0)
"""For a run of all modes at once."""
QUICK = Schedule(warm_up_calls=1, warm_up_seconds=0.5, calls=5, seconds=1.0, least=1)


@dataclass(slots=True)
class _Run:
    """How far a contender has come."""

    warm_up: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    problem: str | None = None

    def warm(self, schedule: Schedule) -> bool:
        return len(self.warm_up) >= schedule.warm_up_calls or sum(self.warm_up) >= schedule.warm_up_seconds

    def done(self, schedule: Schedule) -> bool:
        if self.problem is not None:
            return True
        enough = len(self.seconds) >= schedule.calls or sum(self.seconds) >= schedule.seconds
        slow = bool(self.seconds) and min(self.seconds) > _SLOW * schedule.seconds
        least = min(schedule.least, 2) if slow else schedule.least
        return enough and len(self.seconds) >= min(least, schedule.calls)

    def burst(self, schedule: Schedule) -> int:
        """How many calls to make at once."""
        known = self.seconds or self.warm_up
        if not known or known[-1] * 2 > _BURST_SECONDS:
            return 1
        left = (
            (schedule.calls - len(self.seconds)) if self.warm(schedule) else schedule.warm_up_calls - len(self.warm_up)
        )
        return max(1, min(_MAX_BURST, left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What rounds gave for one contender.

    Attributes:
        times: Seconds per call, warm-up excluded; None where it failed.
        problem: Why it failed.
        warnings: Why the times should not be believed, if so.
    """

    times: Distribution | None = None
    problem: str | None = None
    warnings: tuple[str, ...] = ()


def rounds(
    timed: Mapping[str, Timed],
    case: Case | Mapping[str, Case],
    schedule: Schedule,
    *,
    done: Callable[[str], None] = lambda name: None,
    limit_seconds: float | None = None,
) -> dict[str, Outcome]:
    """Time a case for several contenders in turn.

    Args:
        timed: By name.
        case: What is timed, or for each name its own.
        schedule: How often.
        done: Called with each name when it needs no further round.
        limit_seconds: A contender whose first call takes longer is not repeated; it gets that one call.

    Returns:
        The outcome for each name. One that fails does not stop the others.
    """
    runs = {name: _Run() for name in timed}
    cases = dict.fromkeys(timed, case) if isinstance(case, Case) else dict(case)
    while waiting := [name for name, run in runs.items() if not run.done(schedule)]:
        for name in waiting:
            run = runs[name]
            warm = run.warm(schedule)
            try:
                seconds, late = timed[name].time(cases[name], run.burst(schedule))
            except ContenderError as error:
                run.problem = str(error)
                done(name)
                continue
            if limit_seconds is not None and not run.warm_up and not run.seconds and seconds[0] > limit_seconds:
                run.seconds, run.late = seconds, late
                run.problem = ""
            elif warm:
                run.seconds += seconds
                run.late += late
            else:
                run.warm_up += seconds
            if run.done(schedule):
                done(name)
    return {name: _outcome(run) for name, run in runs.items()}


def _outcome(run: _Run) -> Outcome:
    if run.problem:
        return Outcome(problem=run.problem)
    times = Distribution(tuple(run.seconds))
    warnings = ["a single slow call, not repeated"] if run.problem == "" else []
    late = Distribution(tuple(run.late)).median
    if late > LATE * times.median:
        warnings.append(
            f"its device went on for {1000 * late:.3g} ms after the audio was said to be there; that is counted, too"
        )
    return Outcome(times=times, warnings=tuple(warnings))
