"""What is worse, what is better, and what is only noise."""

from __future__ import annotations

import pytest

from apcodec_benchmarks.comparison import compare
from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import Case, Ceiling, ContenderRecord, Distribution, Quality, Timing
from apcodec_benchmarks.report.comparison_table import comparison_table
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

CASE = Case(operation="round_trip", seconds=10.0)


def results(
    times: dict[str, tuple[float, ...]],
    *,
    rate: float = 2e11,
    metrics: dict[str, float] | None = None,
    cpu: str = "one",
    weights: str = "0",
) -> Results:
    facts = Facts(
        title="A", library="b 1", sample_rate=48000, bitrate=6e3, frame=1, weights="trained", weights_hash=weights
    )
    return Results(
        made="2026-01-01T00:00:00+00:00",
        command="",
        environment={"cpu": {"name": cpu}, "gpus": [], "packages": {"torch": "1"}},
        settings={},
        contenders=tuple(ContenderRecord(name=name, facts=facts) for name in times),
        ceilings=(Ceiling(operation="product", threads=2, precision="float32", size="", rate=rate, best=rate),),
        timings=tuple(
            Timing(contender=name, mode="cpuN", threads=2, case=CASE, times=Distribution(values))
            for name, values in times.items()
        ),
        quality=(Quality(contender="a", file="x", seconds=1.0, metrics=metrics),) if metrics else (),
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((1.0, 1.01, 1.02), (1.0, 1.01, 1.02), "same"),
        ((1.0, 1.01, 1.02), (1.5, 1.51, 1.52), "worse"),
        ((1.5, 1.51, 1.52), (1.0, 1.01, 1.02), "better"),
        ((1.0, 1.01, 1.02), (1.02, 1.03, 1.04), "same"),  # less than the tolerance
        ((0.8, 1.0, 2.0), (0.9, 1.3, 1.9), "same"),  # more, but their middle halves meet
    ],
)
def test_a_time_is_worse_beyond_tolerance_and_spread(
    before: tuple[float, ...], after: tuple[float, ...], verdict: str
) -> None:
    found = compare(results({"a": before}), results({"a": after}))
    assert [change.verdict for change in found.changes] == [verdict]
    assert bool(found.regressions) is (verdict == "worse")


def test_the_change_and_its_spread_are_those_of_the_calls() -> None:
    found = compare(results({"a": (1.0, 1.0, 1.0)}), results({"a": (1.2, 1.2, 1.2)})).changes[0]
    assert found.change == pytest.approx(0.2)
    assert found.spread == (pytest.approx(0.2), pytest.approx(0.2))
    assert (found.before, found.after) == (pytest.approx(0.1), pytest.approx(0.12))


def test_a_slower_machine_is_no_regression_relative_to_another_contender() -> None:
    before = results({"a": (1.0, 1.0), "b": (2.0, 2.0)})
    after = results({"a": (1.5, 1.5), "b": (3.0, 3.0)})
    assert len(compare(before, after).regressions) == 2
    found = compare(before, after, relative_to="b")
    assert [change.what.split(",")[0] for change in found.changes] == ["a"]
    assert found.changes[0].change == pytest.approx(0)
    assert found.changes[0].verdict == "same"


def test_a_slower_machine_is_no_regression_relative_to_its_ceiling() -> None:
    before, after = results({"a": (1.0, 1.0)}, rate=3e11), results({"a": (1.5, 1.5)}, rate=2e11)
    assert compare(before, after).regressions
    found = compare(before, after, relative_to="ceiling")
    assert found.changes[0].change == pytest.approx(0)
    assert not found.regressions
    assert any("33% slower" in note for note in found.notes)


def test_being_relative_to_what_was_not_measured_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="c was not timed"):
        compare(results({"a": (1.0,)}), results({"a": (1.0,)}), relative_to="c")


@pytest.mark.parametrize(
    ("name", "before", "after", "verdict"),
    [
        ("stoi", 0.9, 0.85, "worse"),
        ("stoi", 0.85, 0.9, "better"),
        ("stoi", 0.900, 0.899, "same"),
        ("lsd", 1.0, 1.1, "worse"),
        ("lsd", 1.1, 1.0, "better"),
        ("si_sdr", 10.0, 9.9, "same"),
    ],
)
def test_metrics_know_which_way_is_better(name: str, before: float, after: float, verdict: str) -> None:
    found = compare(
        results({"a": (1.0,)}, metrics={name: before}), results({"a": (1.0,)}, metrics={name: after})
    ).changes[-1]
    assert found.verdict == verdict
    assert (found.before, found.after) == (before, after)


def test_what_makes_them_hard_to_compare_is_said() -> None:
    found = compare(results({"a": (1.0,), "b": (1.0,)}), results({"a": (1.0,)}, cpu="two", weights="1"))
    assert "the CPU differ: one and two" in found.notes
    assert "a has other weights" in found.notes
    assert found.missing == ("only in the first: b, cpuN, round_trip of 10 s, 2 threads",)


def test_results_that_share_nothing_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="share no figure"):
        compare(results({"a": (1.0,)}), results({"b": (1.0,)}))


def test_the_table_shows_the_verdict() -> None:
    text = comparison_table(compare(results({"a": (1.0, 1.0)}), results({"a": (2.0, 2.0)})))
    assert "| a, cpuN, round_trip of 10 s, 2 threads | 0.1 | 0.2 | +100.0% | +100.0% to +100.0% | **worse** |" in text
