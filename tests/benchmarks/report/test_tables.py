"""Whole texts of results made by hand: everything is there, in words that are told once, and nothing breaks them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from benchmark_plot_results import record, timing
from benchmark_tables import SETTINGS, quality, results, tables

from apcodec_benchmarks.measurements import Ceiling, ContenderRecord, Distribution, StageTiming
from apcodec_benchmarks.modes import MODES
from apcodec_benchmarks.report.tables import markdown, summary
from apcodec_benchmarks.results import Results

UGLY = "a|b\\|c\n# d <script> \u2028e\r\n\\"
"""What no title should hold, and no table should be broken by."""


def everything(title: str = "A", problem: str = "get it") -> Results:
    """Three contenders in every mode, with stages, quality, ceilings, failures and warnings."""
    able = replace(record("a", title), failures=(f"cpuN: {problem}",))
    assert able.facts is not None
    able = replace(able, facts=replace(able.facts, notes=(problem,)))
    names = ("a", "b")
    timings = [
        timing(name, mode, 0.1, 0.2, operation=operation, clip=clip, batch=batch, warnings=[problem])
        for name in names
        for mode, operation, clip, batch in (
            ("cpuN", "round_trip", 10.0, 1), ("cpuN", "encode", 10.0, 1), ("cpu1", "round_trip", 10.0, 1),
            ("paper", "round_trip", 2.0, 1), ("window", "encode", 0.1, 1), ("throughput", "round_trip", 2.78, 8),
            ("engine", "decode", 2.78, 1), ("length", "stream", 1800.0, 1),
        )
    ]  # fmt: skip
    stage = StageTiming(contender="a", threads=2, seconds=3.0, stage="encoder", times=Distribution((0.03,)))
    ceilings = [
        Ceiling(operation="product", threads=2, precision="float32", size="large", rate=4.2e14, best=5e14),
        Ceiling(operation="copy", threads=1, precision="float32", size="large", rate=5e10, best=6e10),
    ]
    made = results(
        able, record("b", weights="random"), ContenderRecord(name="absent", problem=problem), timings=timings,
        quality=[quality("a", "x.wav", metrics={"stoi": 0.5}), quality("a", f"{title}.wav", problem=problem)],
    )  # fmt: skip
    settings = {**SETTINGS, "absent_metrics": {"pesq": problem}}
    return replace(made, stages=(stage,), ceilings=tuple(ceilings), settings=settings)


def test_everything_that_was_measured_is_in_the_text() -> None:
    text = markdown(everything())
    headings = re.findall(r"^### ([^:\n]+)", text, re.MULTILINE)
    assert headings == [
        *(mode.name for mode in MODES), "Where the time goes", "Quality, mean of the files", "Contenders"
    ]  # fmt: skip
    assert len(tables(text)) == len(headings)
    for words in (
        "RTF is so.", "Repeated: often.", "Some CPU, 2 CPUs usable, no GPU; onnxruntime 1.20; apcodec-deploy 1.2.3",
        "Ceiling, 2 threads: 420000 GFLOP/s (large; best 500000).", "Ceiling, 1 thread: 50 GB/s (large; best 60).",
        "- ° random weights: speed counts, quality does not.", "- A: get it.", "- absent did not run: get it",
        "- no pesq: get it", "- a, A.wav: get it", "- a, cpuN: get it", "- b, length, stream of 1800 s: get it",
        "- a, throughput, round_trip of 2.78 s x 8: get it",
    ):  # fmt: skip
        assert words in text, words


def test_no_figure_has_an_exponent() -> None:
    assert not re.search(r"\d[eE][+-]?\d", markdown(everything()))


def test_ugly_titles_and_problems_break_neither_tables_nor_lists() -> None:
    nice, ugly = markdown(everything()), markdown(everything(UGLY, UGLY))
    assert [[len(row) for row in rows] for rows in tables(ugly)] == [
        [len(row) for row in rows] for rows in tables(nice)
    ]
    assert len(ugly.splitlines()) == len(nice.splitlines())
    assert ugly.count("\n- ") == nice.count("\n- ")
    assert "<script" not in ugly


def test_the_mark_is_explained_where_it_is_used_and_only_there() -> None:
    for text in (
        markdown(everything()),
        summary(results(record("a", weights="random"), timings=[timing("a", "cpuN", 1.0)])),
    ):
        assert "A" in text and "random weights: speed counts" in text
    assert "random weights" not in markdown(results(record("a"), timings=[timing("a", "cpuN", 1.0)]))


@pytest.mark.parametrize(
    ("modes", "head"),
    [
        (["paper", "cpu1", "cpuN"], "1 s clip, threads: 2"),
        (["paper", "throughput", "engine"], "times real time, by batch"),
        (["paper", "window"], "1 utterances, 1 to 1 s"),
        (["window"], "ms, mean ± deviation"),
    ],
)
def test_a_summary_has_one_table_whatever_was_measured(modes: list[str], head: str) -> None:
    text = summary(results(record("a"), timings=[timing("a", mode, 0.5) for mode in modes]))
    (rows,) = tables(text)
    assert rows[0][0] == head
    assert text.endswith("at an unknown revision; 2026-01-02.\n")


def test_the_summary_of_quality_is_its_means() -> None:
    found = results(record("a"), quality=[quality("a", "1", metrics={"stoi": 0.5})])
    (rows,) = tables(summary(found))
    assert rows[1][:2] == ["A", "1"]


def test_results_without_any_figure_still_say_why() -> None:
    text = markdown(results(ContenderRecord(name="absent", problem="get it")))
    assert tables(text) == []
    assert "- absent did not run: get it\n" in text
