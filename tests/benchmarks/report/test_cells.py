"""Figures read back within their digits, and no text can break a table."""

from __future__ import annotations

import math
import re

import pytest
from benchmark_tables import cells
from hypothesis import given
from hypothesis import strategies as st

from apcodec_benchmarks.report.cells import NOTHING, figure, table


@given(st.floats(1e-12, 1e12) | st.floats(-1e12, -1e-12), st.integers(1, 6))
def test_a_figure_reads_back_within_its_digits(value: float, digits: int) -> None:
    text = figure(value, digits)
    assert re.fullmatch(r"-?\d+(\.\d+)?", text)
    last = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    assert abs(float(text) - value) <= 0.5 * last * (1 + 1e-6)
    if abs(value) < 1:
        assert len(text.lstrip("-0.")) <= digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING), (0, "0"), (-0.0, "0"), (0.12345, "0.123"), (12.345, "12.3"), (999.6, "1000"),
        (12345.6, "12346"), (-12345.6, "-12346"), (1.23456e-5, "0.0000123"), (4e-9, "0.000000004"), (1, "1"),
    ],
)  # fmt: skip
def test_figures_are_as_people_write_them(value: float | None, text: str) -> None:
    assert figure(value) == text


TEXTS = st.text(st.sampled_from("ab|\\ \n\r\t<>`*_\u2028\x0b\x85é") | st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=4), st.lists(TEXTS, min_size=3, max_size=3))
def test_no_text_can_break_a_table(rows: list[list[str]], head: list[str]) -> None:
    lines = table(head, rows).splitlines()
    assert len(lines) == 2 + len(rows)
    for line, texts in zip((lines[0], *lines[2:]), (head, *rows), strict=True):
        found = cells(line)
        assert len(found) == 3
        for cell, text in zip(found, texts, strict=True):
            # Nothing is lost but white space.
            shown = cell.replace("\\", "").replace("&lt;", "<")
            assert "".join(shown.split()) == "".join(text.replace("\\", "").split())
