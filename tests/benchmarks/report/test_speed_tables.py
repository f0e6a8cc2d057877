"""Tables of speed, of results made by hand: the figures of each mode, their order, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark_plot_results import record, streamed, timing
from benchmark_tables import columns, results, tables

from apcodec_benchmarks.measurements import ContenderRecord, Distribution, StageTiming, Timing
from apcodec_benchmarks.report.cells import NOTHING
from apcodec_benchmarks.report.tables import markdown


def only_table(mode: str, timings: Sequence[Timing], *contenders: ContenderRecord) -> list[list[str]]:
    """The table of a mode, of a run in which it was the only one."""
    found = markdown(results(*contenders, timings=timings))
    assert f"### {mode}: " in found
    return tables(found)[0]


def test_one_clip_is_a_row_for_each_contender_the_fastest_first() -> None:
    trip = replace(timing("slow", "cpuN", 1.0, 2.0, 3.0, 4.0, 10.0, clip=10.0, memory=123_400_000), ceiling_share=0.251)
    timings = [
        trip,
        timing("slow", "cpuN", 2.0, operation="decode", clip=10.0),
        timing("fast", "cpuN", 0.004, clip=10.0),
        timing("mid", "cpuN", 0.5, clip=10.0),
        timing("half", "cpuN", 0.5, operation="encode", clip=10.0),  # its round trip failed
    ]
    contenders = [record("slow"), record("fast", "Fast", "random"), record("mid"), record("half")]
    rows = only_table("cpuN", timings, *contenders)
    assert rows[0][0] == "10 s clip, threads: 2"
    fast, mid, slow = columns(rows)
    assert [row["who"] for row in (fast, mid, slow)] == ["Fast°", "MID", "SLOW"]
    assert fast["RTF"] == "0.0004" and fast["speed"] == "2500x"
    assert slow == {
        "who": "SLOW", "RTF": "0.3", "middle half": "0.2 to 0.4", "p95": "0.88", "speed": "3.33x", "encode": NOTHING,
        "decode": "0.2", "of the ceiling": "25%", "peak MB": "123", "calls": "5",
    }  # fmt: skip
    assert mid["encode"] == mid["decode"] == mid["of the ceiling"] == mid["peak MB"] == NOTHING


def test_without_directions_there_are_no_columns_for_them() -> None:
    (row,) = columns(only_table("cpu1", [timing("a", "cpu1", 1.0)], record("a")))
    assert "encode" not in row


def test_utterances_are_summed_and_averaged() -> None:
    timings = [
        timing("a", "paper", 0.1, clip=1.0), timing("a", "paper", 0.6, clip=3.0),
        timing("b", "paper", 0.2, clip=1.0), timing("b", "paper", 0.1, 0.3, 9.0, clip=3.0),
    ]  # fmt: skip
    rows = only_table("paper", timings, record("a"), record("b"))
    assert rows[0][0] == "2 utterances, 1 to 3 s"
    # b: (0.2 + 0.3) / 4, and (0.2 + 0.1) / 2; a: (0.1 + 0.6) / 4, and (0.1 + 0.2) / 2
    assert rows[1:] == [["B", "0.125", "0.15", "8x"], ["A", "0.175", "0.15", "5.71x"]]


def test_utterances_of_one_length_are_still_several() -> None:
    made = [timing("a", "paper", 0.1, clip=2.0) for _ in range(3)]
    timings = [
        replace(each, case=replace(each.case, file=f"{name}.wav")) for each, name in zip(made, "abc", strict=True)
    ]
    assert only_table("paper", timings, record("a"))[0][0] == "3 utterances, 2 to 2 s"


def test_utterances_without_copies_are_a_column_and_no_utterances_more() -> None:
    bare = timing("a", "paper", 0.05, clip=1.0)
    timings = [
        timing("a", "paper", 0.1, clip=1.0),
        timing("b", "paper", 0.2, clip=1.0),
        replace(bare, case=replace(bare.case, copies=False)),
    ]
    rows = only_table("paper", timings, record("a"), record("b"))
    assert rows[0][0] == "1 utterances, 1 to 1 s"
    assert [(row["who"], row["RTF, sum / sum"], row["RTF without copies"]) for row in columns(rows)] == [
        ("A", "0.1", "0.05"),
        ("B", "0.2", NOTHING),
    ]


def test_windows_are_milliseconds_with_their_deviation() -> None:
    timings = [
        timing("a", "window", 0.010, 0.014, operation="encode", clip=0.0266),
        timing("a", "window", 0.002, operation="decode", clip=0.0266),
        timing("b", "window", 0.003, operation="decode", clip=0.0266),
    ]
    rows = only_table("window", timings, record("a"), record("b", weights="random"))
    assert rows == [
        ["ms, mean ± deviation", "encode 26.6 ms", "decode 26.6 ms"],
        ["A", "12 ± 2.8", "2 ± 0"],
        ["B°", NOTHING, "3 ± 0"],
    ]


def test_device_time_is_milliseconds_too() -> None:
    rows = only_table("engine", [timing("a", "engine", 1.5, operation="encode", clip=2.78)], record("a"))
    assert rows == [["ms, mean ± deviation", "encode 2780 ms"], ["A", "1500 ± 0"]]


def test_throughput_is_times_real_time_by_batch() -> None:
    timings = [
        timing("a", "throughput", 1.0, clip=2.0, batch=1),
        timing("a", "throughput", 0.001, clip=2.0, batch=8),
        timing("b", "throughput", 0.5, clip=2.0, batch=1),
    ]
    rows = only_table("throughput", timings, record("a"), record("b"))
    assert rows == [["times real time, by batch", "1", "8"], ["A", "2x", "16000x"], ["B", "4x", NOTHING]]


def test_lengths_are_a_row_each() -> None:
    rows = only_table("length", streamed("a", 1.0), record("a"))
    assert [row[1] for row in rows[1:]] == ["1", "3", "10", "30", "100"]
    assert rows[3] == ["A", "10", "2", "0.2", "500"]


def test_stages_say_where_the_time_goes() -> None:
    stages = [
        StageTiming(contender="a", threads=2, seconds=3.0, stage="encoder", times=Distribution((0.03, 0.03, 0.9)),
                    flops=6e9, bytes=2e6, ceiling_share=0.5),
        StageTiming(contender="a", threads=2, seconds=3.0, stage="decoder", times=Distribution((0.01,))),
    ]  # fmt: skip
    found = tables(markdown(replace(results(record("a")), stages=tuple(stages))))[0]
    assert found == [
        ["contender", "stage", "ms for 3 s", "of all", "GFLOP", "least MB", "of the ceiling"],
        ["A", "encoder", "30", "75%", "6", "2", "50%"],
        ["A", "decoder", "10", "25%", NOTHING, NOTHING, NOTHING],
    ]


def test_contenders_are_listed_whether_they_ran_or_not() -> None:
    able = record("a")
    assert able.facts is not None
    able = replace(
        able, facts=replace(able.facts, parameters=1_500_000, bitrate=1_411_200), load_seconds=0.5, flops_per_second=2e9
    )
    classical, absent = record("opus", weights="none"), ContenderRecord(name="absent", problem="get it")
    held = [replace(timing("a", "cpu1", 1.0), device_memory=memory) for memory in (None, 3_000_000, 2_000_000)]
    found = results(able, classical, absent, timings=held)
    first, second, third = columns(tables(markdown(found))[-1])
    assert first == {
        "who": "A", "kHz": "48", "kbit/s": "1411", "parameters, M": "1.5", "GFLOP per s of audio": "2",
        "precision": "float32", "loaded after, s": "0.5", "1 s coded after, s": NOTHING, "GPU MB": "3",
    }  # fmt: skip
    assert second["precision"] == second["GPU MB"] == NOTHING
    assert third.pop("who") == "absent"
    assert set(third.values()) == {NOTHING}
    assert "GPU MB" not in markdown(replace(found, timings=(timing("a", "cpu1", 1.0),)))
