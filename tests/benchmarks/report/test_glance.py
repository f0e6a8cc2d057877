"""Speed at a glance: the short table says what its mark names, and the plot has a bar for everybody."""

from __future__ import annotations

import pytest
from benchmark_plot_results import placed, record, results, timing

from apcodec_benchmarks.report.document import updated
from apcodec_benchmarks.report.glance import glance_table, speed_plot
from apcodec_benchmarks.report.plots import summary_svgs
from apcodec_benchmarks.report.tables import short_summary
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError


def measured() -> Results:
    return results(
        record("apcodec", "APCodec, windows of 2.67 s", weights="random"),
        record("other", "Other"),
        timings=[
            timing("apcodec", "cpuN", 0.25, memory=400_000_000),
            timing("apcodec", "cpuN", 9.0, operation="encode"),
            timing("other", "cpuN", 0.5),
            timing("apcodec", "cpu1", 0.5, threads=1),
        ],
    )


def test_a_row_is_a_contenders_speed_on_all_threads_and_on_one() -> None:
    *_, first, second = glance_table(measured(), ["other", "apcodec"]).splitlines()
    assert first == "| Other | 2 x | – | – |"
    assert second == "| APCodec° | 4 x | 2 x | 400 |"


def test_a_contender_that_was_not_timed_is_named_with_those_that_were() -> None:
    with pytest.raises(BenchmarkError, match="dac was not timed in mode cpuN; there are: apcodec, other"):
        glance_table(measured(), ["apcodec", "dac"])


def test_a_document_chooses_its_rows() -> None:
    text = "<!-- bench one: other -->\nold\n<!-- /bench -->"
    once = updated(text, {"one": measured()})
    assert once == f"<!-- bench one: other -->\n{short_summary(measured(), ['other'])}<!-- /bench -->"
    assert updated(once, {"one": measured()}) == once


def test_the_plot_names_all_and_says_how_many_times_faster_than_real_time_they_are() -> None:
    texts = placed(summary_svgs(measured())["speed.svg"])
    assert {"APCodec°", "Other", "4 x", "2 x"} <= set(texts)
    assert speed_plot(results(record("a"), timings=[timing("a", "paper", 0.5)])) is None
