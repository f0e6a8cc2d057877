"""Every part of an acceptance with stand-ins for the GPU, so that no minute on a card is lost to a mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apcodec_benchmarks.acceptance.ceilings import FACT, Ceilings
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import PARTS, REHEARSAL
from apcodec_benchmarks.acceptance.running import REHEARSED
from apcodec_benchmarks.acceptance.streams import STREAMABLE, model_of
from apcodec_deploy.bundle import Bundle
from apcodec_export import exporting
from apcodec_export.checkpoint import Checkpoint

ROOT = Path(__file__).parents[3]


LONG = ("onnxruntime", "tensorrt", "streams", "others", "training")
"""Parts that take longer than a few seconds on two CPUs."""


@pytest.mark.parametrize(
    "part", [pytest.param(part.name, marks=pytest.mark.slow) if part.name in LONG else part.name for part in PARTS]
)
def test_a_part_runs_to_its_end_and_passes(tmp_path: Path, part: str, request: pytest.FixtureRequest) -> None:
    if part == "streams":  # a model that is there is not exported
        shutil.copytree(request.getfixturevalue("proven_remembering_bundle"), tmp_path / STREAMABLE)
    # As the part ``device`` leaves them, so that shares are computed.
    device = Journal(tmp_path, "device", REHEARSED)
    device.fact(FACT, Ceilings(products={"float32": 1e12}, memory=1e12, bus=1e10, launch=1e-5).to_dict())
    packages = [ROOT, *(ROOT / name for name in ("export", "engines", "benchmarks", "training", "tests"))]
    ran = subprocess.run(
        [sys.executable, "-m", "apcodec_benchmarks.acceptance", "--rehearse", "--parts", part, "--out", tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, packages))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + (tmp_path / f"{part}.log").read_text()
    assert ran.stdout.startswith("REHEARSAL, no figure means anything.")
    parts = json.loads((tmp_path / "acceptance.json").read_text())["parts"]
    (found,) = [each for each in parts if each["part"] == part]
    assert found["status"] == "passed"
    assert found["checks"]


def test_a_model_for_streams_is_exported_with_history_unless_it_is_there(
    tmp_path: Path, remembering_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Checkpoint] = []

    def export(checkpoint: Checkpoint, path: Path, *, name: str) -> Bundle:
        exported.append(checkpoint)
        return Bundle.open(shutil.copytree(remembering_bundle, path))

    monkeypatch.setattr(exporting, "export_bundle", export)
    journal = Journal(tmp_path, "streams")
    for _ in range(2):
        assert model_of(journal, REHEARSAL).path == tmp_path / STREAMABLE
    (only,) = exported
    assert (only.network.context, only.network.dim) == (6, 8)
