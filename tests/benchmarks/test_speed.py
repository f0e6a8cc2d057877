"""A whole measurement, with contenders of known cost and some that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import benchmark_stand_ins
import pytest
from conftest import SLOW_TO_MAKE

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.modes import Clips, Mode, modes_named
from apcodec_benchmarks.report.tables import markdown
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.speed import Plan, measure_speed
from apcodec_benchmarks.timing import Schedule

Named = Callable[[str], Entry]
COST = benchmark_stand_ins.ENCODE + benchmark_stand_ins.DECODE
SCHEDULE = Schedule(warm_up_calls=1, warm_up_seconds=0.2, calls=2, seconds=1.0, least=1)


def plan(entries: list[Entry], modes: list[Mode], seconds: float = 1.5) -> Plan:
    return Plan(
        command="a test",
        entries=entries,
        settings=Settings(threads=1),
        modes=modes,
        threads=2,
        clips=Clips(seconds=seconds),
        schedule=SCHEDULE,
    )


@pytest.fixture(scope="module", params=[SLOW_TO_MAKE])
def measured() -> Results:
    """One run of good and bad contenders; they are found as in every other test."""
    names = ("Sleeper", "Device", "Raiser", "Dier", "absent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", benchmark_stand_ins.PATH)
        entries = [Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}") for name in names]
        return measure_speed(plan(entries, modes_named(["cpuN", "cpu1"])))


@pytest.mark.slow
def test_the_real_time_factor_comes_out_right(measured: Results) -> None:
    for name in ("sleeper", "device"):
        own = {each.case.operation: each for each in measured.timings if each.contender == name and each.mode == "cpuN"}
        assert own.keys() == {"round_trip", "encode", "decode"}
        trip = own["round_trip"]
        assert COST <= min(trip.times.values) / 1.5 <= 1.4 * COST
        assert trip.rtf == trip.times.median / 1.5
        assert min(own["encode"].times.values) < min(own["decode"].times.values) < min(trip.times.values)


def test_threads_are_as_the_mode_says(measured: Results) -> None:
    assert {(each.mode, each.threads) for each in measured.timings} == {("cpuN", 2), ("cpu1", 1)}
    assert {(each.operation, each.threads) for each in measured.ceilings} == {
        ("product", 1), ("product", 2), ("copy", 1), ("copy", 2)
    }  # fmt: skip


def test_what_cannot_run_stays_with_its_reason(measured: Results) -> None:
    assert [each.name for each in measured.contenders] == ["sleeper", "device", "raiser", "dier", "absent"]
    absent = measured.contender("absent")
    assert absent.facts is None
    assert absent.problem == "it needs something that is not here: get it"
    assert "too long for me" in measured.contender("raiser").failures[0]
    assert "ended with code 7: out of something" in measured.contender("dier").failures[0]
    assert not [each for each in measured.timings if each.contender in ("raiser", "dier", "absent")]
    text = markdown(measured)
    for words in ("get it", "too long for me", "out of something"):
        assert words in text


def test_start_up_memory_and_ceilings_are_there(measured: Results) -> None:
    sleeper = measured.contender("sleeper")
    assert sleeper.load_seconds is not None and sleeper.first_seconds is not None
    assert 0 < sleeper.load_seconds <= sleeper.first_seconds
    assert all(each.memory is None or each.memory > 1e6 for each in measured.timings)
    assert all(0 < each.rate <= each.best for each in measured.ceilings)


def test_everything_survives_its_file(measured: Results, tmp_path: Path) -> None:
    measured.write(tmp_path / "results.json")
    read = Results.read(tmp_path / "results.json")
    assert markdown(read) == markdown(measured)
    assert [each.key for each in read.timings] == [each.key for each in measured.timings]
    assert replace(read, timings=(), stages=()) == replace(measured, timings=(), stages=())


@pytest.mark.slow
def test_growing_cases_end_for_those_for_whom_they_take_too_long(stand_in: Named) -> None:
    (throughput,) = modes_named(["throughput"])
    done: list[tuple[int, int]] = []
    slow, fast = stand_in("Sleeper"), stand_in("StandIn")
    results = measure_speed(
        plan([slow, fast], [throughput]), progress=lambda what, count, total: done.append((count, total))
    )
    # 2.78 s of audio cost the sleeper 0.22 s; the third case, of four clips, is beyond half of its second.
    assert [each.case.batch for each in results.timings if each.contender == "sleeper"] == [1, 2, 4]
    assert [each.case.batch for each in results.timings if each.contender == "standin"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert "not repeated" in [each for each in results.timings if each.contender == "sleeper"][-1].warnings[0]
    assert done[-1][0] == done[-1][1]
    assert max(count for count, _ in done) <= done[-1][1]


def test_a_share_beyond_the_ceiling_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender that claims more arithmetic in its time than the machine can do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apcodec_benchmarks.workers.process.Worker.work", lambda self, seconds: {"encode": (1e15, 1.0)})
        entries = [Entry(name="standin", factory="benchmark_stand_ins:StandIn")]
        results = measure_speed(plan(entries, modes_named(["cpu1"])))
    assert results.timings[0].ceiling_share is not None
    assert results.timings[0].ceiling_share > 1.1
    assert "faster than this machine's ceiling" in results.timings[0].warnings[0]
    assert results.contenders[0].flops_per_second is None  # stages are counted with all threads only
