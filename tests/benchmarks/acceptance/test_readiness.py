"""What is missing is said before a minute of a GPU is spent."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance import readiness
from apcodec_benchmarks.acceptance.__main__ import main
from apcodec_benchmarks.acceptance.parts import PARTS, parts_named
from apcodec_benchmarks.acceptance.readiness import lacking
from apcodec_deploy.errors import BenchmarkError, DeviceError


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        readiness.importlib.util, "find_spec", lambda name: None if name in names else (found(name) or object())
    )


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "driver_library", lambda: object())


def test_nothing_is_missing_where_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    assert lacking(PARTS) == {}


def test_a_package_is_missing_for_the_parts_that_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pycuda", "transformers")
    missing = lacking(PARTS)
    assert missing["device"] == ["Python package pycuda"]
    assert missing["others"] == ["Python package transformers"]
    assert "folder" not in missing
    assert set(lacking(PARTS, card=False)) == {"others", "training"}  # a rehearsal brings its own pycuda


def test_a_driver_is_missing_for_all_but_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise DeviceError("no NVIDIA driver is installed here")

    without(monkeypatch)
    monkeypatch.setattr(readiness, "driver_library", none)
    assert set(lacking(PARTS)) == {part.name for part in PARTS} - {"model"}


def test_no_part_runs_while_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "hypothesis")
    assert main(["--parts", "device,folder", "--out", str(tmp_path)]) == 2
    assert "device cannot run: there is no Python package hypothesis" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["--parts", "devise", "--out", str(tmp_path)]) == 2
    assert "there is no part devise; there are: model, device," in capsys.readouterr().err


def test_parts_keep_their_order() -> None:
    assert [part.name for part in parts_named(["folder", "device"])] == ["device", "folder"]
    with pytest.raises(BenchmarkError):
        parts_named(["nothing"])
