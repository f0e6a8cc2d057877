"""What is missing is said before a minute of a GPU is spent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance import readiness
from apcodec_benchmarks.acceptance.parts import PARTS, parts_named
from apcodec_benchmarks.acceptance.program import main
from apcodec_benchmarks.acceptance.readiness import _broken as broken
from apcodec_benchmarks.acceptance.readiness import _provider_trouble as provider_trouble
from apcodec_benchmarks.acceptance.readiness import lacking, told
from apcodec_deploy.engines.flavour import Flavour
from apcodec_deploy.errors import BenchmarkError, DeviceError, OutputError

ROOT = Path(__file__).parents[3]


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(readiness, "absent", lambda wanted: [name for name in wanted if name in names])


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "driver_library", lambda: object())
    monkeypatch.setattr(readiness, "version_of", lambda name: "2.11.0+cu130")
    monkeypatch.setattr(readiness, "_provider_trouble", lambda: "")
    monkeypatch.setattr(readiness, "_broken", lambda names: {})


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


def test_a_package_that_lacks_another_is_told_with_the_name_of_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hollow.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    why = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert broken(["hollow", "json"]) == {"hollow": f"Python package hollow that works ({why})"}


def test_a_bare_python_is_told_all_that_it_lacks() -> None:
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "apcodec_benchmarks.acceptance"],
        env={"PYTHONPATH": str(ROOT / "benchmarks")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "this Python has no numpy, onnxruntime, platformdirs, soundfile, soxr, typer, rich; some parts" in ran.stderr
    assert "transformers" in ran.stderr


def test_a_driver_is_missing_for_all_but_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise DeviceError("no NVIDIA driver is installed here")

    without(monkeypatch)
    monkeypatch.setattr(readiness, "driver_library", none)
    driver = "NVIDIA driver (libcuda.so.1 or nvcuda.dll does not load)"
    assert lacking(PARTS) == {part.name: [driver] for part in PARTS if part.name != "model"}


def test_builds_without_cuda_are_missing_where_they_would_run_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    monkeypatch.setattr(readiness, "version_of", lambda name: "2.13.0+cpu")
    monkeypatch.setattr(
        readiness, "_provider_trouble", lambda: "ONNX Runtime with CUDA: libcublasLt.so.13: cannot open"
    )
    missing = lacking(PARTS)
    torch, cuda = (
        "PyTorch built for CUDA (2.13.0+cpu is installed)",
        "ONNX Runtime with CUDA: libcublasLt.so.13: cannot open",
    )
    assert missing == {
        "device": [torch, cuda],
        **{name: [cuda] for name in ("onnxruntime", "streams", "folder")},
        **{name: [torch] for name in ("others", "training")},
    }
    assert lacking(PARTS, card=False) == {}


def test_the_cpu_build_of_onnx_runtime_is_found_out_in_a_process_of_its_own() -> None:
    assert provider_trouble.__wrapped__() == "ONNX Runtime built for CUDA"


def test_a_checkout_without_the_clips_of_the_tests_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch)
    monkeypatch.setattr(readiness, "CLIPS", tmp_path / "examples")
    wanted = [f"{tmp_path / 'examples'} (a checkout, or the source distribution)"]
    assert lacking(PARTS) == {"device": wanted, "onnxruntime": wanted, "tensorrt": wanted}


def test_what_is_wrong_with_tensorrt_is_told_before_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch)
    monkeypatch.setattr(Flavour, "installed", property(lambda flavour: True))
    monkeypatch.setattr(readiness, "trouble_of", lambda flavour: f"{flavour.title} has no builder resource")
    assert "TensorRT: TensorRT has no builder resource" in told(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file cannot be made: .*; name another folder with --out"):
        told(tmp_path / "file")


def test_no_part_runs_while_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "hypothesis")
    assert main(["--parts", "device,folder", "--out", str(tmp_path)]) == 2
    assert "device cannot run: there is no Python package hypothesis" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["--parts", "devise", "--out", str(tmp_path)]) == 2
    assert "there is no part devise; there are: model, device," in capsys.readouterr().err


def test_in_eight_minutes_all_codecs_are_measured_on_the_same_card() -> None:
    order = ["model", "device", "onnxruntime", "tensorrt", "others", "folder", "training", "streams"]
    assert [part.name for part in PARTS] == order
    setting_up, starting = 30, 5
    assert setting_up + sum(part.seconds + starting for part in PARTS[: order.index("folder")]) <= 8 * 60


def test_parts_keep_their_order() -> None:
    assert [part.name for part in parts_named(["folder", "device"])] == ["device", "folder"]
    with pytest.raises(BenchmarkError):
        parts_named(["nothing"])
