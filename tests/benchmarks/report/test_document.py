"""Documents: the marked part is replaced, once and again, and every other byte stays as it is."""

from __future__ import annotations

import pytest
from benchmark_plot_results import record, timing
from benchmark_plot_results import results as made_results
from hypothesis import given
from hypothesis import strategies as st

from apcodec_benchmarks.report.document import updated
from apcodec_benchmarks.report.tables import summary
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

TEXTS = st.text(st.sampled_from("a |\n\r\t\\g<1>é-#*"), max_size=30)


def results(title: str = "A", seconds: float = 1.0) -> Results:
    return made_results(record("a", title), timings=[timing("a", "cpuN", seconds)])


def part(name: str, inside: str = "") -> str:
    return f"<!-- bench {name} -->\n{inside}<!-- /bench -->"


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_only_the_part_of_the_results_changes(before: str, inside: str, between: str, after: str) -> None:
    other = part("other", "\n| old |\n")
    found = updated(f"{before}{part('one', inside)}{between}{other}{after}", {"one": results()})
    assert found == f"{before}{part('one', summary(results()))}{between}{other}{after}"


def test_a_second_time_changes_nothing_and_new_figures_replace_the_old_ones() -> None:
    held = {"one": results(), "two": results("B")}
    once = updated(f"# Title\n\n{part('one')}\n\n{part('two', 'old')}\n", held)
    assert updated(once, held) == once
    again = updated(once, {"one": results(seconds=7.0)})
    assert again.count("| 7 to 7 |") == 1
    assert summary(results()) not in again
    assert summary(results("B")) in again


def test_titles_are_no_patterns_and_end_no_part() -> None:
    held = {"one": results("\\1 \\g<name> <!-- /bench --> $")}
    once = updated(part("one"), held)
    assert "\\1 \\g" in once
    assert updated(once, held) == once


def test_line_endings_stay_as_they_are() -> None:
    text = f"first\r\n{part('one', 'old')}\r\nlast\r\n".replace("-->\n", "-->\r\n")
    found = updated(text, {"one": results()})
    assert found.count("\n") == found.count("\r\n") > 4
    assert found.replace("\r\n", "\n") == f"first\n{part('one', summary(results()))}\nlast\n"


@pytest.mark.parametrize("name", ["h100", "gpu-2026_01", "v1.2", "two words"])
def test_marks_are_called_as_files_are(name: str) -> None:
    assert summary(results()) in updated(part(name), {name: results()})


@pytest.mark.parametrize(
    "text", ["", part("other"), "<!-- bench one -->", "<!-- bench one --> old <!-- /bench -->", part("one more")]
)
def test_a_document_without_the_mark_is_refused_with_the_mark(text: str) -> None:
    with pytest.raises(BenchmarkError, match="no mark for one; put '<!-- bench one -->'"):
        updated(text, {"one": results()})


def test_a_part_that_is_never_closed_does_not_swallow_the_next_one() -> None:
    text = f"<!-- bench one -->\nwords\n{part('two', 'old')}"
    with pytest.raises(BenchmarkError, match="no mark for one"):
        updated(text, {"one": results()})
    assert updated(text, {"two": results()}) == f"<!-- bench one -->\nwords\n{part('two', summary(results()))}"
