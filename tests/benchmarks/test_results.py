"""Distributions agree with numpy; results survive their file, and files that are no results are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import (
    Case,
    Ceiling,
    ContenderRecord,
    Distribution,
    Quality,
    StageTiming,
    Timing,
)
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError, OutputError

TIMES = st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=60)


@given(TIMES, st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    found = Distribution(tuple(values))
    assert found.values == pytest.approx(values, rel=1e-5)  # six digits are kept
    values = list(found.values)
    assert found.quantile(share) == pytest.approx(np.quantile(values, share), rel=1e-9)
    assert found.median == pytest.approx(np.median(values), rel=1e-12)
    assert found.p95 == pytest.approx(np.quantile(values, 0.95), rel=1e-9)
    assert found.p99 == pytest.approx(np.quantile(values, 0.99), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9)
    if len(values) > 1:
        assert found.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-9)
    low, high = found.spread
    assert min(values) <= low <= found.median <= high <= max(values)


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=300))
def test_a_thinned_distribution_keeps_its_quantiles(values: list[float]) -> None:
    found = Distribution(tuple(values))
    thinned = found.thinned(100)
    assert len(thinned.values) == 101
    for share in (0.0, 0.5, 0.99, 1.0):
        assert thinned.quantile(share) == pytest.approx(found.quantile(share), rel=1e-5)


def test_no_times_are_no_distribution() -> None:
    with pytest.raises(BenchmarkError, match="at least one"):
        Distribution(())


@pytest.fixture
def results() -> Results:
    facts = Facts(
        title="A", library="b 1", sample_rate=48000, bitrate=6000.0, frame=320, weights="random", notes=("n",)
    )
    case = Case(operation="round_trip", seconds=10.0, batch=2, file="x.wav")
    times = Distribution((1.0, 2.0, 4.0))
    return Results(
        made="2026-01-01T00:00:00+00:00",
        command="apcodec bench rtf",
        environment={"cpu": {"name": "one"}, "gpus": [], "packages": {}},
        settings={"definition": "RTF"},
        contenders=(
            ContenderRecord(name="a", facts=facts, load_seconds=0.5, failures=("cpuN: it broke",)),
            ContenderRecord(name="b", problem="not here"),
        ),
        ceilings=(Ceiling(operation="product", threads=2, precision="float32", size="big", rate=2e11, best=3e11),),
        timings=(
            Timing(contender="a", mode="cpuN", threads=2, case=case, times=times, memory=10, warnings=("doubt",)),
        ),
        stages=(StageTiming(contender="a", threads=2, seconds=10.0, stage="stft", times=times, flops=1e9, bytes=1.0),),
        quality=(
            Quality(
                contender="a", file="x.wav", seconds=1.0, bitrate=6e3, metrics={"stoi": 0.9}, agreement=(1.0, 0.5),
                against="c", against_snr=40.0,
            ),
            Quality(contender="a", file="y.wav", seconds=0.0, problem="cut"),
        ),
    )  # fmt: skip


def test_results_survive_their_file(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "r.json")
    assert Results.read(tmp_path / "r.json") == results
    with pytest.raises(OutputError, match="exists"):
        results.write(tmp_path / "r.json", overwrite=False)


def test_times_stand_on_one_line_and_texts_as_they_are(results: Results, tmp_path: Path) -> None:
    text = "[\\n1,\\n2]"
    changed = replace(results, command=text + "\n[\n 1,\n 2\n]", settings={"none": [], "words": ["a", "b"]})
    changed.write(tmp_path / "r.json")
    assert '"values": [1.0, 2.0, 4.0]\n' in (tmp_path / "r.json").read_text(encoding="utf-8")
    assert Results.read(tmp_path / "r.json") == changed


def test_the_file_tells_people_the_figures(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "r.json")
    (timing,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["timings"]
    assert timing["rtf"] == 0.1
    assert timing["times"] == {
        "count": 3, "median": 2.0, "mean": 2.33333, "deviation": 1.52753, "p95": 3.8, "values": [1.0, 2.0, 4.0]
    }  # fmt: skip


def test_the_real_time_factor_is_compute_time_over_audio_time(results: Results) -> None:
    assert results.timings[0].rtf == 2.0 / (10.0 * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "holds no results"),
        ({"format_version": 99}, "format version 99"),
        ({"timings": None}, "damaged or incomplete"),
        ({"timings": [{"contender": "a"}]}, "damaged or incomplete"),
        ({"ceilings": [{"operation": "product", "strange": 1}]}, "unknown keys of Ceiling: strange"),
        ({"quality": [{}]}, "damaged or incomplete"),
    ],
)
def test_what_is_no_results_is_refused(
    change: dict[str, object], message: str, results: Results, tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps({**results.to_dict(), **change}), encoding="utf-8")
    with pytest.raises(BenchmarkError, match=message):
        Results.read(file)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 100_000, "\udcff"])
def test_what_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BenchmarkError, match=r"r\.json"):
        Results.read(file)


def test_keys_tell_timings_apart(results: Results) -> None:
    timing = results.timings[0]
    assert timing.key == ("a", "cpuN", 2, "round_trip", 10.0, 2, True, "host", "x.wav")
