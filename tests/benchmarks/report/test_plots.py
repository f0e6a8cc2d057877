"""Plots: which there are, what is written in them, and where things stand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_plot_results import everything, placed, record, results, roofline, streamed, sweep, timing, written

from apcodec_benchmarks.report import plot_sheet
from apcodec_benchmarks.report.cells import MARK
from apcodec_benchmarks.report.glance import speed_plot
from apcodec_benchmarks.report.plots import summary_svgs, write_plots
from apcodec_benchmarks.report.roofline_plot import roofline_plot
from apcodec_benchmarks.report.speed_plots import growth_exponent, length_plot, rtf_plot, throughput_plot
from apcodec_benchmarks.report.windows_plot import windows_plot
from apcodec_benchmarks.results import Results

PLOTS = (speed_plot, rtf_plot, throughput_plot, length_plot, roofline_plot, windows_plot)


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (results(), set()),
        (results(record("a")), set()),
        (results(record("a"), timings=[timing("a", "cpuN", 0.5, operation="encode")]), set()),
        (results(record("a"), timings=[timing("a", "cpuN", 0.5)]), {"speed.svg", "rtf.svg"}),
        (results(record("a"), timings=[timing("a", "paper", 0.5)]), {"rtf.svg"}),
        (results(record("a"), timings=[timing("a", "throughput", 0.5)]), {"throughput.svg"}),
        (results(record("a"), timings=streamed("a", 1.0)), {"length.svg"}),
        (results(record("a"), timings=streamed("a", 1.0, memory=None)), {"length.svg"}),
        (roofline({"encoder": (1e9, 1e6, 0.1)}), {"roofline.svg"}),
        (roofline({"encoder": (1e9, 1e6, 0.1)}, threads=1), set()),
        (replace(roofline({"encoder": (1e9, 1e6, 0.1)}), ceilings=()), set()),
        (roofline({"encoder": (0.0, 1e6, 0.1), "decoder": (None, None, 0.1)}), set()),
        (everything(), {"speed.svg", "rtf.svg", "throughput.svg", "length.svg", "roofline.svg"}),
        (sweep("0.17 s", "whole"), {"windows.svg"}),
        (replace(sweep("0.17 s", "whole"), timings=()), {"windows.svg"}),
        (sweep("0.17 s", "whole", "opus"), {"rtf.svg"}),
        (sweep("whole"), {"rtf.svg"}),
    ],
)
def test_there_are_plots_of_what_was_measured_and_no_others(made: Results, names: set[str], tmp_path: Path) -> None:
    paths = write_plots(made, tmp_path / "plots")
    assert {path.name for path in paths} == names
    assert len(paths) == len(names)
    assert sorted(tmp_path.glob("plots/*")) == sorted(paths)
    assert (tmp_path / "plots").exists() == bool(names)
    drawn = summary_svgs(made)
    assert all(path.read_text(encoding="utf-8") == drawn[path.name] for path in paths)


def test_the_fastest_contender_comes_first_with_its_value_and_random_weights_are_marked() -> None:
    times = {"slow": 2.5, "fast": 0.025, "middle": 0.25}
    made = results(
        *(record(name, weights="random" if name == "middle" else "none") for name in times), record("idle"),
        timings=[timing(name, "cpuN", 2 * seconds, clip=2.0) for name, seconds in times.items()],
    )  # fmt: skip
    found = placed(summary_svgs(made)["rtf.svg"])
    assert found["FAST"][1] < found[f"MIDDLE{MARK}"][1] < found["SLOW"][1]
    assert not any("IDLE" in text for text in found)
    # Values stand at the ends of the bars: a factor of ten is as long wherever it is.
    ends = [found[value][0] for value in ("0.025", "0.25", "2.5")]
    ticks = found["1"][0] - found["0.1"][0]
    assert np.diff(ends) == pytest.approx([ticks, ticks], abs=0.1)
    assert any("RTF = compute time / audio time" in text for text in found)
    assert f"{MARK} random weights: speed counts, quality does not" in found
    assert "Some CPU, apcodec-deploy 1.2.3, 2026-01-02" in found


def test_error_bars_reach_over_the_middle_half_of_the_calls() -> None:
    calls = (1.0, 1.1, 1.2, 1.9, 4.0, 9.0)
    with plot_sheet.style():
        sheet = rtf_plot(results(record("a"), timings=[timing("a", "cpuN", *calls, clip=10.0)]))
        assert sheet is not None
        (axes,) = sheet.axes
        (line,) = axes.collections
        ends = np.asarray(line.get_segments())[0, :, 0]  # type: ignore[attr-defined]
    assert ends == pytest.approx(np.percentile(calls, [25, 75]) / 10)


def test_a_single_thread_has_a_bar_of_its_own_and_other_modes_only_where_neither_is_there() -> None:
    timings = [timing("a", "cpuN", 0.125), timing("b", "cpuN", 0.25), timing("a", "paper", 0.75)]
    alone = [timing("a", "cpu1", 0.375, threads=1), timing("c", "cpu1", 0.625, threads=1)]
    records = [record(name) for name in "abc"]
    both = placed(summary_svgs(results(*records, timings=[*timings, *alone]))["rtf.svg"])
    assert {"A", "B", "C", "0.125", "0.25", "0.375", "0.625", "2 threads (cpuN)", "1 thread (cpu1)"} <= set(both)
    assert both["0.125"][1] < both["0.375"][1] < both["0.25"][1] < both["0.625"][1]
    assert "0.75" not in both
    one = placed(summary_svgs(results(*records, timings=[*timings[2:], *alone]))["rtf.svg"])
    assert {"A", "C", "0.375", "0.625"} <= set(one)
    assert not {"B", "0.125", "0.25", "0.75", "2 threads (cpuN)"} & set(one)


def test_utterances_count_by_all_their_time_over_all_their_audio() -> None:
    timings = [timing("a", "paper", 1.0, clip=1.0), timing("a", "paper", 1.0, clip=7.0)]
    assert "0.25" in placed(summary_svgs(results(record("a"), timings=timings))["rtf.svg"])


def test_a_figure_with_a_warning_is_marked() -> None:
    made = results(record("a"), timings=[timing("a", "cpuN", 0.5, warnings=["odd"])])
    assert "0.5 (?)" in placed(summary_svgs(made)["rtf.svg"])
    assert "(?): not to be believed" in written(summary_svgs(made)["rtf.svg"])
    trusted = results(record("a"), timings=[timing("a", "cpuN", 0.5)])
    assert "(?)" not in written(summary_svgs(trusted)["rtf.svg"])


def test_throughput_is_audio_over_time_and_points_with_a_warning_are_open() -> None:
    times = {1: 0.5, 2: 0.75, 4: 1.0}
    timings = [timing("a", "throughput", seconds, clip=3.0, batch=batch, warnings=["odd"] if batch == 2 else [])
               for batch, seconds in reversed(times.items())]  # fmt: skip
    with plot_sheet.style():
        sheet = throughput_plot(results(record("a"), timings=timings))
        assert sheet is not None
        (axes,) = sheet.axes
        line, doubted = (each for each in axes.lines if each.get_marker() == "o")
    assert np.asarray(line.get_xydata()) == pytest.approx(np.asarray([(1, 6), (2, 8), (4, 12)]))
    assert np.asarray(doubted.get_xydata()) == pytest.approx(np.asarray([(2, 8)]))
    assert doubted.get_markerfacecolor() == "white" != line.get_markerfacecolor()
    assert doubted.get_zorder() > line.get_zorder()


def test_no_contender_looks_like_another() -> None:
    made = everything()
    names = [each.name for each in made.contenders]
    looks = [plot_sheet.look_of(made, name) for name in names]
    assert len({(look.colour, look.marker) for look in looks}) == len(names)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_the_exponent_is_that_of_the_data_whatever_the_shortest_clips_take(power: float) -> None:
    points = [(length, 0.01 * length**power) for length in (10.0, 30.0, 300.0, 1800.0)]
    assert growth_exponent([(1.0, 50.0), (3.0, 70.0), *points]) == pytest.approx(power)
    noise = [1.1, 0.95, 1.02, 0.9]
    noisy = [(length, time * factor) for (length, time), factor in zip(points, noise, strict=True)]
    lengths, times = np.log(np.asarray(noisy)).T
    expected = np.polyfit(lengths, times, 1)[0]
    assert growth_exponent(noisy) == pytest.approx(float(expected))


def test_no_exponent_comes_from_a_single_length() -> None:
    assert growth_exponent([(1.0, 1.0), (2.0, 2.0), (10.0, 3.0), (10.0, 4.0)]) is None


def test_the_plot_of_lengths_says_how_time_grows_and_what_memory_it_took() -> None:
    timings = [*streamed("linear", 1.0), *streamed("square", 2.0), timing("brief", "length", 0.1, operation="stream")]
    made = results(record("linear"), record("square"), record("brief"), timings=timings)
    text = written(summary_svgs(made)["length.svg"])
    assert "LINEAR: time grows as length^1.00, RTF 0.2 at 100 s, 500 to 500 MB" in text
    assert "SQUARE: time grows as length^2.00" in text
    assert "BRIEF: RTF 0.1 at 1 s" in text
    assert "peak memory, MB" in text
    assert "peak memory" not in written(
        summary_svgs(results(record("a"), timings=streamed("a", 1, None)))["length.svg"]
    )


def test_a_stage_stands_where_its_arithmetic_and_its_time_put_it() -> None:
    stages = {"encoder": (1e11, 1e9, 1.0), "decoder": (1e11, 1e8, 1.0), "quantizer": (1e10, 1e8, 1.0)}
    made = roofline({**stages, "dequantizer": (0.0, 1e6, 0.1), "uncounted": (None, None, 0.1)})
    with plot_sheet.style():
        sheet = roofline_plot(made)
        assert sheet is not None
        roof, points = sheet.axes[0].lines
        names = [label.get_text() for label in sheet.axes[0].texts]
    assert names == list(stages)
    assert np.asarray(points.get_xydata()) == pytest.approx(np.asarray([(100, 100), (1000, 100), (100, 10)]))
    edges = np.asarray(roof.get_xydata())  # bytes/s times intensity up to the ridge, FLOP/s from there on
    assert edges[0, 1] == pytest.approx(50 * edges[0, 0])
    assert tuple(edges[1]) == pytest.approx((400 / 50, 400))
    assert edges[2, 1] == pytest.approx(400)
    assert "matrix product 400 GFLOP/s (float32), copy 50 GB/s" in written(summary_svgs(made)["roofline.svg"])


def test_labels_of_stages_neither_overlap_nor_leave_the_axes() -> None:
    crowd = {f"stage {place}": (1e10 * 1.12**place, 1e8, 1.0 + place % 2) for place in range(6)}
    with plot_sheet.style():
        sheet = roofline_plot(roofline(crowd))
        assert sheet is not None
        (axes,) = sheet.axes
        sheet.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.texts]
        assert len(boxes) == len(crowd)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_the_sweep_shows_means_over_files_and_whole_clips_behind_the_longest_window() -> None:
    made = sweep("10.00 s", "0.17 s", "2.67 s", "whole")
    found = placed(summary_svgs(made)["windows.svg"])
    assert found["0.17"][0] < found["2.67"][0] < found["10"][0] < found["whole"][0]
    assert {"1.250", "0.750", "0.0625"} <= set(found)  # LSD, STOI, RTF
    assert "2 clips of 60 to 60 s" in written(summary_svgs(made)["windows.svg"])


def test_a_difference_in_quality_that_tells_nothing_looks_flat_and_one_that_tells_something_steep() -> None:
    made = sweep("0.17 s", "0.33 s")

    def climb(difference: float) -> float:
        values = {"0.17 s": 0.5, "0.33 s": 0.5 + difference}
        rows = [replace(row, metrics={"stoi": values[row.contender]}) for row in made.quality]
        found = placed(summary_svgs(replace(made, quality=tuple(rows)))["windows.svg"])
        return found["0.500"][1] - found[f"{0.5 + difference:.3f}"][1]

    assert 0 < climb(0.001) < 5 < 50 < climb(0.3)


def test_nothing_is_cut_off_and_the_legend_covers_no_data() -> None:
    long = "A name far longer than anybody would ever want to read beside a bar, with its rate, its library & version"
    made = everything()
    records = [replace(each, facts=replace(each.facts, title=long)) for each in made.contenders if each.facts]
    for each in (made, replace(made, contenders=tuple(records)), sweep("0.17 s", "whole")):
        with plot_sheet.style():
            sheets = [sheet for plot in PLOTS if (sheet := plot(each)) is not None]
            assert sheets
            for sheet in sheets:
                sheet.draw_without_rendering()
                width, height = 72 * sheet.get_size_inches()
                parts = [*sheet.texts, *sheet.legends]
                boxes = [part.get_window_extent() for part in parts]
                boxes += [box for axes in sheet.axes if (box := axes.get_tightbbox()) is not None]
                assert len(boxes) == len(parts) + len(sheet.axes)
                assert width == 600
                assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
                assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
