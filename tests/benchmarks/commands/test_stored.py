"""``apcodec bench compare`` and ``table``, which read stored results: exit codes, documents, plots, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_commands import bench, refused, speed
from benchmark_plot_results import streamed

from apcodec_benchmarks.report.tables import markdown, summary
from apcodec_deploy.errors import BenchmarkError


@pytest.mark.parametrize(
    ("after", "code", "verdict"),
    [((1.0, 1.01), 0, "same"), ((2.0, 2.01), 1, "**worse**"), ((0.5, 0.51), 0, "**better**")],
)
def test_compare_fails_where_something_got_worse(
    after: tuple[float, ...], code: int, verdict: str, tmp_path: Path
) -> None:
    speed(1.0, 1.01).write(tmp_path / "a.json")
    speed(*after).write(tmp_path / "b.json")
    answer = bench("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert answer.exit_code == code
    assert f"| {verdict} |" in answer.stdout
    assert ("1 of 1 figures got worse" in answer.stderr) is bool(code)
    answer = bench("compare", tmp_path / "a.json", tmp_path / "b.json", "--json", "--tolerance", 9)
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["changes"][0]["before"] == pytest.approx(1.005)


@pytest.mark.parametrize("content", ["", "words", "{}", '{"format": "apcodec-benchmark", "format_version": 99}', "[1]"])
@pytest.mark.parametrize("command", ["compare", "table"])
def test_files_that_are_no_results_are_refused(command: str, content: str, tmp_path: Path) -> None:
    speed().write(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(content)
    answer = bench(command, tmp_path / "a.json", tmp_path / "b.json")
    assert isinstance(answer.exception, BenchmarkError)
    assert str(tmp_path / "b.json") in refused(answer)


def test_table_prints_results_again(tmp_path: Path) -> None:
    held = [speed(1.0), speed(2.0, mode="cpu1")]
    for name, each in zip("ab", held, strict=True):
        each.write(tmp_path / f"{name}.json")
    answer = bench("table", tmp_path / "a.json", tmp_path / "b.json")
    assert answer.exit_code == 0
    assert answer.stdout == "".join(markdown(each) for each in held)


def test_table_updates_a_document_and_leaves_the_rest_of_its_bytes(tmp_path: Path) -> None:
    speed().write(tmp_path / "one.json")
    document = tmp_path / "README.md"
    before, after = b"\xef\xbb\xbf# Title\r\n\r\n", b"\r\nlast line \xc3\xa9 without an end"
    document.write_bytes(before + b"<!-- bench one -->\r\nold\r\n<!-- /bench -->" + after)
    answer = bench("table", tmp_path / "one.json", "--update", document)
    assert answer.exit_code == 0, answer.output
    assert (answer.stdout, answer.stderr) == ("", f"updated: {document}\n")
    found = document.read_bytes()
    table = summary(speed()).replace("\n", "\r\n").encode()
    assert found == before + b"<!-- bench one -->\r\n" + table + b"<!-- /bench -->" + after
    assert bench("table", tmp_path / "one.json", "--update", document).exit_code == 0
    assert document.read_bytes() == found


@pytest.mark.parametrize("content", [None, b"# no mark\n", b"\xff\xfe<!-- bench one -->\n<!-- /bench -->"])
def test_a_document_that_cannot_be_updated_is_left_alone(content: bytes | None, tmp_path: Path) -> None:
    speed().write(tmp_path / "one.json")
    document = tmp_path / "README.md"
    if content is not None:
        document.write_bytes(content)
    refused(bench("table", tmp_path / "one.json", "--update", document))
    assert (document.read_bytes() if document.exists() else None) == content


def test_table_draws_every_file_in_a_folder_of_its_own(tmp_path: Path) -> None:
    speed().write(tmp_path / "one.json")
    grown = replace(speed(), timings=tuple(streamed("a", 1.0)))
    grown.write(tmp_path / "two.json")
    files = (tmp_path / "one.json", tmp_path / "two.json")
    answer = bench("table", *files, "--plots", tmp_path / "plots")
    assert answer.exit_code == 0, answer.output
    drawn = sorted(path.relative_to(tmp_path / "plots").as_posix() for path in (tmp_path / "plots").rglob("*.svg"))
    assert drawn == ["one/rtf.svg", "one/speed.svg", "two/length.svg"]
    assert "exists" in str(bench("table", *files, "--plots", tmp_path / "plots").exception)
    assert bench("table", *files, "--plots", tmp_path / "plots", "--overwrite").exit_code == 0


def test_two_results_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    for folder in "ab":
        speed().write(tmp_path / folder / "one.json")
    files = (tmp_path / "a" / "one.json", tmp_path / "b" / "one.json")
    assert "have the same name" in refused(bench("table", *files))
