"""Tables of quality, of results made by hand: means over the files that went well, and the window sweep."""

from __future__ import annotations

from benchmark_plot_results import record, sweep
from benchmark_tables import quality, results, tables

from apcodec_benchmarks.report.cells import NOTHING
from apcodec_benchmarks.report.tables import markdown, summary


def test_quality_is_the_mean_of_the_files_that_went_well() -> None:
    rows = [
        quality("a", "1", bitrate=6000.0, metrics={"stoi": 0.8, "snr": 10.0}, agreement=(1.0, 0.5), against="b",
                against_snr=40.0),
        quality("a", "2", bitrate=8000.0, metrics={"stoi": 0.9}, agreement=(1.0, 0.7), against="b", against_snr=50.0),
        quality("a", "3", problem="cut off"),
        quality("b", "1", bitrate=6000.0, metrics={"stoi": 0.5}),
        quality("c", "1", problem="all wrong"),
    ]  # fmt: skip
    found = results(record("a"), record("b"), record("c"), quality=rows)
    head, *body = tables(markdown(found))[0]
    assert head[:5] == ["contender", "files", "kbit/s", "SNR, dB ↑", "STOI ↑"]
    assert body == [
        ["A", "2", "7", "10.0", "0.850", "100.0% 60.0%", "45.0"],
        ["B", "1", "6", NOTHING, "0.500", NOTHING, NOTHING],
    ]
    assert "- a, 3: cut off\n" in markdown(found)
    assert "- c, 1: all wrong\n" in markdown(found)


def test_a_sweep_is_a_table_of_its_own() -> None:
    found = sweep("0.17 s", "whole")
    (rows,) = tables(markdown(found))
    assert rows == [
        ["window", "LSD ↓", "STOI ↑", "codes as whole, by codebook", "RTF", "peak MB"],
        ["0.17 s", "1.250", "0.750", NOTHING, "0.0625", NOTHING],
        ["whole", "1.250", "0.750", NOTHING, "0.0625", NOTHING],
    ]
    assert tables(summary(found)) == [rows]
