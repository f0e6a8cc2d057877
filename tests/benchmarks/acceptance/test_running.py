"""Parts in processes of their own: what one of them does never costs what the others found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance import running
from apcodec_benchmarks.acceptance.parts import Part
from apcodec_benchmarks.acceptance.running import RESULT, Acceptance, passed


def part(name: str, *, seconds: float = 1.0, limit: float = 20.0) -> Part:
    return Part(name=name, title=f"the part {name}", seconds=seconds, limit=limit, function="nothing:run")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    monkeypatch.setattr(running, "environment", dict)


def run(folder: Path, *parts: Part, **options: Any) -> dict[str, Any]:
    lines: list[str] = []
    acceptance = Acceptance(parts=parts, folder=folder, module="acceptance_stand_in", **options)
    result = acceptance.run(lines.append)
    assert json.loads((folder / RESULT).read_text()) == result
    return {each["part"]: each for each in result["parts"]} | {"result": result, "said": "\n".join(lines)}


def test_a_part_that_fails_dies_or_hangs_leaves_the_others_alone(tmp_path: Path) -> None:
    found = run(tmp_path, part("fails"), part("dies"), part("hangs", limit=3), part("passes"))
    statuses = {name: found[name]["status"] for name in ("fails", "dies", "hangs", "passes")}
    assert statuses == {"fails": "failed", "dies": "ended", "hangs": "ended", "passes": "passed"}
    assert "ended with code -6" in found["dies"]["problem"]
    assert found["hangs"]["problem"] == "it took longer than its 3 s"
    assert all(len(found[name]["checks"]) == 1 for name in statuses)  # found before, and kept
    assert "FAILED something: it is so" in found["said"]
    assert not passed(found["result"])


def test_what_passed_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    run(tmp_path, part("passes"), part("fails"))
    found = run(tmp_path, part("passes"), part("fails"))
    assert (tmp_path / "runs").read_text().split() == ["passes", "fails", "fails"]
    assert found["passes"]["status"] == "passed"
    run(tmp_path, part("passes"), fresh=True)
    assert (tmp_path / "runs").read_text().split() == ["passes", "fails", "fails", "passes"]


def test_what_does_not_fit_is_left_out_from_the_end(tmp_path: Path) -> None:
    found = run(tmp_path, part("passes", seconds=1), part("long", seconds=3600), part("short", seconds=1), minutes=1)
    assert [found[name]["status"] for name in ("passes", "long", "short")] == ["passed", "left out", "left out"]
    assert passed(found["result"])
    assert "long: left out" in found["said"]
