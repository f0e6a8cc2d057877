"""A whole measurement of live use, with contenders of known cost and some that misbehave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmark_stand_ins import PATH, RATE, Live, LiveSlow
from conftest import SLOW_TO_MAKE

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.measurements import Timing
from apcodec_benchmarks.pipe import Pipe
from apcodec_benchmarks.report.stream_tables import carried, in_time
from apcodec_benchmarks.report.tables import markdown
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.streaming import StreamPlan, _growth, measure_stream
from apcodec_benchmarks.timing import Schedule

SCHEDULE = Schedule(warm_up_calls=1, warm_up_seconds=0.1, calls=5, seconds=0.2, least=2)
FRAME = 160 / RATE
NAMES = ("Live", "LiveSlow", "LiveDier", "StandIn", "absent")
FAILS = [sys.executable, "-c", "import sys; sys.exit('no such model')"]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module", params=[SLOW_TO_MAKE])
def measured(steps: list[tuple[str, int, int]]) -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATH)
        plan = StreamPlan(
            command="a test",
            entries=[Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}") for name in NAMES],
            settings=Settings(threads=1),
            threads=(1, 2),
            tokens=(1, 2, 16),
            most=64,
            soak=1200,
            pipes={"live": Pipe(encode=FAILS, decode=FAILS, sample_rate=RATE, unit=160)},
            pushes=SCHEDULE,
            search=SCHEDULE,
        )
        return measure_stream(plan, lambda *step: steps.append(step))


def of(results: Results, name: str, mode: str) -> list[Timing]:
    return [each for each in results.timings if (each.contender, each.mode) == (name, mode)]


@pytest.mark.slow
def test_a_push_takes_what_it_takes_with_every_number_of_threads(measured: Results) -> None:
    for name, cost in (("live", Live.PUSH), ("liveslow", LiveSlow.PUSH)):
        own = of(measured, name, "push")
        # 16 tokens of 10 ms are more than a talk bears
        assert {(each.threads, round(each.case.seconds / FRAME)) for each in own} == {(1, 1), (1, 2), (2, 1), (2, 2)}
        assert all(cost <= min(each.times.values) < 3 * cost for each in own)


def test_the_most_streams_are_found_with_the_most_threads(measured: Results) -> None:
    for tokens in (1, 2):
        own = [each for each in of(measured, "live", "sessions") if round(each.case.seconds / FRAME) == tokens]
        assert {each.threads for each in own} == {2}
        most = (tokens * FRAME / Live.PUSH - 0.9) / 0.1  # where its known cost is the audio that is pushed
        assert 1 <= carried(own).case.batch <= most
    (slow,) = [each for each in of(measured, "liveslow", "sessions") if round(each.case.seconds / FRAME) == 1]
    assert slow.case.batch == 1 and not in_time(slow)


def test_streams_that_come_and_go_are_summed_up(measured: Results) -> None:
    (soak,) = [each for each in measured.timings if each.mode == "soak"]
    assert (soak.contender, soak.threads, measured.settings["soak"]) == ("live", 1, 1200)
    assert len(soak.times.values) == 1001 and list(soak.times.values) == sorted(soak.times.values)
    assert soak.memory is None or soak.memory > 1e6


def test_who_fails_is_in_the_results_with_the_reason(measured: Results) -> None:
    assert measured.contender("absent").problem == "it needs something that is not here: get it"
    assert set(measured.contender("standin").failures) == {
        f"{mode}: it cannot code what is still coming" for mode in ("push", "sessions")
    }
    (died,) = measured.contender("livedier").failures
    assert died.startswith("sessions: its process ended with code 7")
    assert {each.case.batch for each in of(measured, "livedier", "sessions")} == {1, 2}
    (broken,) = measured.contender("live").failures
    assert broken.startswith("pipe: ") and "no such model" in broken
    assert "pipe: " in markdown(measured)


def test_progress_grows_and_ends(measured: Results, steps: list[tuple[str, int, int]]) -> None:
    done = [each[1] for each in steps]
    assert done == sorted(done)
    assert steps[-1][0] == "done" and steps[-1][1] == steps[-1][2]


def test_results_are_read_back(measured: Results, tmp_path: Path) -> None:
    measured.write(tmp_path / "r.json")
    assert Results.read(tmp_path / "r.json") == measured


def test_memory_that_grows_is_told() -> None:
    assert _growth([100_000_000, 104_000_000]) == ()
    assert _growth([None, 1]) == ()
    assert _growth([100_000_000, 120_000_000]) == ("memory grew from 100 to 120 MB",)
