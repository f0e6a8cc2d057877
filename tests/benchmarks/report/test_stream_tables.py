"""Tables and the plot of live use."""

from __future__ import annotations

from dataclasses import replace

from benchmark_plot_results import record, timing, written
from benchmark_plot_results import results as made_results
from benchmark_tables import columns, tables

from apcodec_benchmarks.measurements import ContenderRecord, Timing
from apcodec_benchmarks.report.plots import summary_svgs
from apcodec_benchmarks.report.tables import markdown, short_summary, summary
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.streaming import MODES

FRAME = 320 / 48_000


def pushed(name: str, mode: str, milliseconds: float, tokens: int = 1, streams: int = 1, threads: int = 1) -> Timing:
    return timing(
        name, mode, milliseconds / 1000, operation="push", clip=tokens * FRAME, batch=streams, threads=threads
    )


def live() -> Results:
    a = record("a", "Fast", "random")
    assert a.facts is not None
    a = replace(a, facts=replace(a.facts, latency=0.0125))
    timings = [
        pushed("a", "push", 4.0),
        pushed("a", "push", 8.0, tokens=8),
        pushed("a", "push", 3.0, threads=2),
        pushed("b", "push", 7.0),
        *(pushed("a", "sessions", 2.0 * count, streams=count, threads=2) for count in (1, 2, 4, 3)),
        pushed("a", "sessions", 5.0, tokens=8, threads=2),
        pushed("b", "sessions", 9.0, threads=2),
        timing("a", "soak", 0.004, 0.005, operation="visits", clip=FRAME, threads=1, memory=200_000_000),
        timing("a", "pipe", 0.011, 0.012, 0.013, operation="pipe", clip=FRAME, threads=1),
    ]
    absent = ContenderRecord(name="c", problem="it is not here")
    made = made_results(a, record("b", "Slow"), absent, timings=timings)
    return replace(made, settings={"modes": MODES, "soak": 10_000, "schedule": "often"})


def test_a_push_is_a_row_for_each_contender_and_number_of_threads() -> None:
    rows = columns(tables(markdown(live()))[0])
    assert [(row["who"], row["threads"]) for row in rows] == [("Fast°", "1"), ("Fast°", "2"), ("Slow", "1"), ("c", "–")]
    first = rows[0]
    assert (first["frame, ms"], first["algorithmic delay, ms"]) == ("6.67", "12.5")
    assert (first["1 token"], first["8 tokens"], first["1 token, of the frame"]) == ("4 / 4", "8 / 8", "60%")
    assert rows[1]["8 tokens"] == "–"
    assert (rows[2]["1 token"], rows[2]["algorithmic delay, ms"]) == ("7 / 7 late", "–")
    assert set(rows[3].values()) == {"c", "–"}


def test_the_most_streams_in_time_stand_with_their_p99() -> None:
    rows = columns(tables(markdown(live()))[1])
    assert rows[0]["1 token a push"] == "3 (6 of 6.67 ms)"
    assert rows[0]["8 tokens a push"] == "1 (5 of 53.3 ms)"
    assert (rows[1]["1 token a push"], rows[1]["8 tokens a push"]) == ("0 (9 of 6.67 ms)", "–")


def test_streams_that_come_and_go_and_the_pipe_are_rows() -> None:
    _, _, soak, pipe, *_ = tables(markdown(live()))
    assert columns(soak)[0] == {
        "who": "Fast°", "threads": "1", "pushes": "10000", "median, ms": "4.5", "p99, ms": "4.99", "longest, ms": "5",
        "peak MB": "200",
    }  # fmt: skip
    assert columns(pipe)[0]["tokens"] == "3" and columns(pipe)[0]["median, ms"] == "12"


def test_a_document_gets_all_tables_and_the_reason_of_who_is_missing() -> None:
    text = summary(live())
    assert len(tables(text)) == 4
    assert "c did not run: it is not here." in text and "random weights" in text and "Some CPU" in text


def test_a_short_table_has_the_pushes_of_whom_it_names() -> None:
    (rows,) = tables(short_summary(live(), ["b"]))
    assert [row["who"] for row in columns(rows)] == ["Slow"]


def test_the_plot_has_a_panel_for_each_number_of_tokens() -> None:
    found = summary_svgs(live())
    assert list(found) == ["streams.svg"]
    text = written(found["streams.svg"])
    for words in ("1 token a push:", "8 tokens a push:", "Fast°", "Slow", "streams at a time", "2 threads"):
        assert words in text
