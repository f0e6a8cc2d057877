"""Which limit of a card a call is nearest to."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_benchmarks.acceptance.ceilings import FACT, Ceilings, Need
from apcodec_benchmarks.acceptance.journal import Journal

CARD = Ceilings(products={"float32": 1e12, "float16": 1e13}, memory=1e12, bus=1e10, launch=1e-5)


@pytest.mark.parametrize(
    ("need", "precision", "share", "limit"),
    [
        (Need(flops=1e11, moved=1e9), "float32", 0.5, "arithmetic"),
        (Need(flops=1e11, moved=1e11), "float16", 0.5, "memory"),
        (Need(flops=1e9, moved=1e9, bus=1e9), "float32", 0.5, "copies"),
        (Need(flops=2e10, moved=1e9, launches=10_000), "float32", 0.1, "launches"),
        (Need(flops=1e11, moved=1e9), "bfloat16", 0.5, "arithmetic"),
    ],
)
def test_the_longest_of_all_is_what_limits(need: Need, precision: str, share: float, limit: str) -> None:
    assert CARD.judge(need, 0.2, precision) == (pytest.approx(share), limit)


def test_they_are_measured_once_and_read_by_later_parts(tmp_path: Path) -> None:
    Journal(tmp_path, "device", "an H100").fact(FACT, CARD.to_dict())
    assert Ceilings.of(Journal(tmp_path, "onnxruntime", "an H100")) == CARD
    assert Ceilings.of(Journal(tmp_path, "onnxruntime", "an H200")) is None
