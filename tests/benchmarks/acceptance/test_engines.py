"""The part ``tensorrt`` where TensorRT is there and does not work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from apcodec_benchmarks.acceptance import engines
from apcodec_benchmarks.acceptance.journal import Journal, found_in
from apcodec_benchmarks.acceptance.parts import REAL
from apcodec_deploy.engines.flavour import Flavour


def test_what_it_lacks_is_one_failed_check_and_no_engine_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Flavour, "installed", property(lambda flavour: True))
    monkeypatch.setattr(Flavour, "load", lambda flavour: SimpleNamespace(version="10.15.1"))
    monkeypatch.setattr(engines, "trouble_of", lambda flavour: f"{flavour.title} has no builder resource")
    engines.run(Journal(tmp_path, "tensorrt"), REAL)
    found = found_in(tmp_path, "tensorrt", "")
    assert found["facts"] == {"TensorRT": "10.15.1"}
    assert [(check["passed"], check["detail"]) for check in found["checks"]] == [
        (False, "TensorRT has no builder resource")
    ]
