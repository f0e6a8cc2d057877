"""Every figure has its share of the card, and what limits it: whole calls, directions and stages alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance.ceilings import Ceilings
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import REHEARSAL
from apcodec_benchmarks.acceptance.speed import Subject, measure
from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import Settings
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.families import GRAPHS

SLOW_LAUNCHES = Ceilings(products={"float32": 1e15}, memory=1e15, bus=1e15, launch=1.0)
SLOW_BUS = Ceilings(products={"float32": 1e15}, memory=1e15, bus=1.0, launch=1e-9)


def figures(folder: Path, ceilings: Ceilings, *, replayed: bool) -> list[dict[str, Any]]:
    contender = ApcodecContender(Settings(threads=1))
    subject = Subject(
        "ours", contender, "float32", bundle=Bundle.embedded(), replays=lambda clips, latents: replayed and latents < 99
    )
    measure(Journal(folder, "speed"), subject, REHEARSAL, ceilings)
    contender.close()
    held = json.loads((folder / "speed.json").read_text())
    assert all(check["passed"] for check in held["checks"])
    found: list[dict[str, Any]] = held["figures"]
    assert [each["stage"] for each in found if each["stage"]] == list(GRAPHS)
    assert all(each["ceiling_share"] > 0 for each in found)
    return found


@pytest.mark.parametrize("replayed", [False, True])
def test_launches_do_not_limit_what_is_replayed_from_a_recording(tmp_path: Path, replayed: bool) -> None:
    for each in figures(tmp_path, SLOW_LAUNCHES, replayed=replayed):
        assert (each["limit"] == "launches") == (not replayed or each["stage"] is not None)


def test_of_the_stages_only_the_ends_copy_audio(tmp_path: Path) -> None:
    limits = {each["stage"]: each["limit"] for each in figures(tmp_path, SLOW_BUS, replayed=True)}
    assert [stage for stage in GRAPHS if limits[stage] == "copies"] == ["stft", "istft"]
