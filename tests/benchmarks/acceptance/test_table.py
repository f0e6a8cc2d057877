"""The table of an acceptance, and what documents show of all that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance.table import NONE, documented, read_results, table
from apcodec_deploy.errors import BenchmarkError

ROOT = Path(__file__).parents[3]


def result(**changes: Any) -> dict[str, Any]:
    figure = {
        "what": "TensorRT float16",
        "operation": "round_trip",
        "batch": 8,
        "seconds": 2.78,
        "copies": False,
        "clock": "host",
        "stage": None,
        "times": {"median": 0.002, "values": [0.001, 0.002, 0.003, 0.004]},
        "real_time": 11120.0,
        "ceiling_share": 0.125,
        "limit": "launches",
    }
    packages = {"torch": "2.11", "soxr": "1"}
    parts = [
        {"part": "device", "status": "failed", "checks": [{"what": "events", "passed": False}], "figures": []},
        {"part": "tensorrt", "status": "passed", "checks": [], "figures": [figure]},
    ]
    environment = {"gpus": [{"name": "H100"}], "packages": packages, "apcodec-deploy": "1.0", "revision": "abc"}
    return {
        "format": "apcodec-acceptance",
        "format_version": 1,
        "made": "2026-01-02T03:04:05",
        "rehearsed": False,
        "environment": environment,
        "parts": parts,
        **changes,
    }


def test_it_names_the_card_and_shows_every_part_and_figure() -> None:
    text = table(result())
    assert text.startswith("name H100; torch 2.11; apcodec-deploy 1.0 at abc; 2026-01-02\n")
    assert "| device | failed; events |" in text
    row = "TensorRT float16 | round trip, batch 8, copies left out | 1.112e+04 | 2 | 2 to 4 | 12.5% | launches"
    assert f"| {row} |" in text
    assert table(result(rehearsed=True)).startswith("REHEARSAL, no figure means anything.")


def test_documents_show_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    assert documented(tmp_path) == NONE
    (tmp_path / "h100.json").write_text(json.dumps(result()))
    assert documented(tmp_path) == table(result())
    (tmp_path / "rehearsal.json").write_text(json.dumps(result(rehearsed=True)))
    with pytest.raises(BenchmarkError, match="is a rehearsal"):
        documented(tmp_path)
    (tmp_path / "rehearsal.json").write_text("{}")
    with pytest.raises(BenchmarkError, match="is no result of an acceptance"):
        documented(tmp_path)


def test_guide_and_readme_show_what_was_measured_on_real_cards_or_that_nothing_was() -> None:
    folder = ROOT / "benchmarks" / "results" / "gpu"
    guide, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/gpu.md", "README.md"))
    assert documented(folder) in guide
    found = read_results(folder)
    for each in found:
        assert all(card["name"] in readme for card in each["environment"]["gpus"])
    assert ("Nothing has run on a GPU yet" in readme) == (not found)
