"""Rounds: what counts, what does not, in which order, and what is said of figures that should not be believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.timing import Schedule, rounds
from apcodec_deploy.errors import BenchmarkError, ContenderError

CASE = Case(operation="round_trip", seconds=1.0)


class Scripted:
    """Says the times that it is told to, and notes when it was asked."""

    def __init__(self, name: str, log: list[str], times: Iterable[float], late: float = 0.0) -> None:
        self.name, self.log, self.late = name, log, late
        self.times: Iterator[float] = iter(times)

    def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
        self.log += [self.name] * calls
        return [next(self.times) for _ in range(calls)], [self.late] * calls


class Failing:
    """Fails at its third call."""

    calls = 0

    def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
        self.calls += 1
        if self.calls == 3:
            raise ContenderError("it broke")
        return [1.0], [0.0]


def forever(value: float) -> Iterator[float]:
    while True:
        yield value


def test_warm_up_does_not_count() -> None:
    schedule = Schedule(warm_up_calls=3, warm_up_seconds=100, calls=4, seconds=100)
    outcome = rounds({"a": Scripted("a", [], [50.0, 40.0, 30.0, 1.0, 1.0, 1.0, 1.0])}, CASE, schedule)["a"]
    assert outcome.times is not None
    assert outcome.times.values == (1.0, 1.0, 1.0, 1.0)


def test_a_slow_outlier_moves_the_p95_and_not_the_median() -> None:
    schedule = Schedule(warm_up_calls=0, calls=20, seconds=1000)
    calm = rounds({"a": Scripted("a", [], [1.0] * 20)}, CASE, schedule)["a"].times
    disturbed = rounds({"a": Scripted("a", [], [1.0] * 18 + [9.0, 9.0])}, CASE, schedule)["a"].times
    assert calm is not None and disturbed is not None
    assert disturbed.median == calm.median == 1.0
    assert calm.p95 == 1.0
    assert disturbed.p95 > 8
    assert disturbed.mean > calm.mean


def test_contenders_take_turns() -> None:
    log: list[str] = []
    schedule = Schedule(warm_up_calls=1, calls=3, seconds=100)
    rounds({name: Scripted(name, log, forever(1.0)) for name in "abc"}, CASE, schedule)
    assert "".join(log) == "abc" * 4


def test_time_ends_what_is_slow_and_others_go_on() -> None:
    log: list[str] = []
    schedule = Schedule(warm_up_calls=10, warm_up_seconds=5, calls=30, seconds=30)
    found = rounds(
        {"slow": Scripted("slow", log, forever(10.0)), "fast": Scripted("fast", log, forever(0.5))}, CASE, schedule
    )
    assert found["slow"].times is not None and found["fast"].times is not None
    assert len(found["slow"].times.values) == 3
    assert log.count("slow") == 4  # one of them to warm up, since it took more than 5 s
    assert len(found["fast"].times.values) == 30
    assert log.count("fast") == 40


def test_what_takes_many_times_its_time_is_done_twice() -> None:
    schedule = Schedule(warm_up_calls=1, calls=30, seconds=2)
    found = rounds({"a": Scripted("a", [], forever(6.0)), "b": Scripted("b", [], forever(4.0))}, CASE, schedule)
    assert found["a"].times is not None and found["b"].times is not None
    assert len(found["a"].times.values) == 2
    assert len(found["b"].times.values) == 3


def test_short_calls_come_in_bursts_and_are_counted_one_by_one() -> None:
    asked: list[int] = []

    class Quick:
        def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
            asked.append(calls)
            return [0.0005] * calls, [0.0] * calls

    found = rounds({"quick": Quick()}, CASE, Schedule(warm_up_calls=10, calls=30, seconds=30))["quick"]
    assert found.times is not None
    assert len(found.times.values) == 30
    assert max(asked) > 1


def test_one_that_fails_keeps_its_reason_and_stops_nobody() -> None:
    found = rounds(
        {"bad": Failing(), "good": Scripted("good", [], forever(1.0))}, CASE, Schedule(warm_up_calls=1, calls=5)
    )
    assert found["bad"].problem == "it broke"
    assert found["bad"].times is None
    assert found["good"].times is not None
    assert len(found["good"].times.values) == 5


def test_what_takes_too_long_is_done_once() -> None:
    log: list[str] = []
    found = rounds({"slow": Scripted("slow", log, forever(9.0))}, CASE, Schedule(), limit_seconds=5.0)["slow"]
    assert found.times is not None
    assert found.times.values == (9.0,)
    assert "not repeated" in found.warnings[0]
    assert log == ["slow"]


@pytest.mark.parametrize(("late", "warned"), [(0.0, False), (0.01, False), (0.2, True), (0.9, True)])
def test_work_that_goes_on_after_a_call_is_warned_of(late: float, warned: bool) -> None:
    found = rounds({"a": Scripted("a", [], forever(1.0), late)}, CASE, Schedule(calls=3))["a"]
    assert bool(found.warnings) is warned


def test_every_contender_can_have_a_case_of_its_own() -> None:
    asked: dict[str, Case] = {}

    class Noting:
        def __init__(self, name: str) -> None:
            self.name = name

        def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
            asked[self.name] = case
            return [1.0], [0.0]

    own = {"a": CASE, "b": Case(operation="product", seconds=0.0)}
    rounds({"a": Noting("a"), "b": Noting("b")}, own, Schedule(calls=1))
    assert asked == own


@pytest.mark.parametrize("wrong", [{"calls": 0}, {"seconds": 0.0}, {"warm_up_calls": -1}, {"least": 0}])
def test_a_schedule_that_repeats_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BenchmarkError, match="repeats nothing"):
        Schedule(**wrong)  # type: ignore[arg-type]
