"""Limits: how they are read, whom they hold, and what breaks them."""

from __future__ import annotations

import pytest

from apcodec_benchmarks.gate import Limit, broken, failed_files, limits_of
from apcodec_benchmarks.measurements import ContenderRecord, Quality
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError


def results(*rows: Quality) -> Results:
    names = dict.fromkeys(row.contender for row in rows)
    return Results(
        made="",
        command="",
        environment={},
        settings={},
        contenders=tuple(ContenderRecord(name=name) for name in names),
        quality=rows,
    )


def row(contender: str = "apcodec", **values: object) -> Quality:
    return Quality(contender=contender, file="x", seconds=1.0, **values)  # type: ignore[arg-type]


def test_limits_are_read() -> None:
    assert limits_of(["stoi=0.85", " codes = 0.97"]) == [
        Limit(name="stoi", value=0.85),
        Limit(name="codes", value=0.97),
    ]


@pytest.mark.parametrize("text", ["stoi", "stoi=high", "=1", "loudness=3"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(BenchmarkError):
        limits_of([text])


def test_the_mean_of_the_files_counts() -> None:
    found = results(row(metrics={"stoi": 0.8}), row(metrics={"stoi": 1.0}))
    assert broken(found, limits_of(["stoi=0.9"])) == []
    assert broken(found, limits_of(["stoi=0.91"])) == ["apcodec: stoi is 0.9; at least 0.91 is expected"]


def test_lower_can_be_better() -> None:
    found = results(row(metrics={"lsd": 1.2}))
    assert broken(found, limits_of(["lsd=1.3"])) == []
    assert broken(found, limits_of(["lsd=1.1"])) == ["apcodec: lsd is 1.2; at most 1.1 is expected"]


def test_the_worst_codebook_counts() -> None:
    found = results(row(agreement=(1.0, 0.9), against="float32"))
    assert broken(found, limits_of(["codes=0.9"])) == []
    assert broken(found, limits_of(["codes=0.95"])) == ["apcodec: codes is 0.9; at least 0.95 is expected"]


def test_the_reference_itself_has_no_codes_to_agree_with() -> None:
    assert broken(results(row(metrics={"stoi": 0.9})), limits_of(["codes=0.95"])) == []


def test_codes_that_could_not_be_compared_break_the_limit() -> None:
    assert "could not be computed" in broken(results(row(against="float32")), limits_of(["codes=0.5"]))[0]


def test_a_metric_that_is_missing_breaks_its_limit() -> None:
    assert "could not be computed" in broken(results(row(metrics={"lsd": 1.0})), limits_of(["stoi=0.5"]))[0]


def test_other_codecs_are_not_held_to_limits() -> None:
    found = results(row("opus", metrics={"stoi": 0.1}), row(metrics={"stoi": 0.9}))
    assert broken(found, limits_of(["stoi=0.5"])) == []


def test_a_gate_that_nothing_passed_through_is_not_kept() -> None:
    assert "no APCodec was measured" in broken(results(row("opus", metrics={"stoi": 1.0})), limits_of(["stoi=0.5"]))[0]
    assert broken(results(row("opus", metrics={"stoi": 1.0})), []) == []


def test_files_that_failed_are_named() -> None:
    assert failed_files(results(row(problem="cut off"))) == ["apcodec: x: cut off"]
