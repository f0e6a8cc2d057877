"""``apcodec export``: its two forms, what it prints, and how it fails."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import apcodec_deploy
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import main as cli
from apcodec_deploy.errors import ApcodecError, CheckpointError, MissingDependencyError
from apcodec_deploy.precision import EXPORTED
from apcodec_export import exporting
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.deployed.precision import HALF, PrecisionPlan
from apcodec_export.network import NetworkConfig


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["export", *map(str, words)])


@dataclass
class Exports:
    """What the command asked ``export_bundle`` for; nothing is exported."""

    bundle: Path
    calls: list[tuple[Checkpoint, Path, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, checkpoint: Checkpoint, output: Path, **options: Any) -> Bundle:
        options.pop("progress")("a step")
        self.calls.append((checkpoint, output, options))
        return Bundle.open(self.bundle)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, unpublished_bundle: Path) -> Exports:
    recorded = Exports(unpublished_bundle)
    monkeypatch.setattr(exporting, "export_bundle", recorded)
    return recorded


def test_the_directory_form_exports_the_newest_checkpoint(
    exports: Exports, family: Path, checkpoint: Checkpoint
) -> None:
    result = invoke(family, "out/bundle")
    assert result.exit_code == 0, result.output
    ((given, output, options),) = exports.calls
    assert given.fingerprint == checkpoint.fingerprint
    assert output == Path("out/bundle")
    assert options == {
        "name": None,
        "plan": HALF,
        "precisions": EXPORTED,
        "weight_bits": 24,
        "overwrite": False,
    }


def test_the_three_file_form_exports_the_named_files(exports: Exports, family: Path, checkpoint: Checkpoint) -> None:
    files = {part: family / f"{part}_00001000" for part in ("encoder", "decoder")}
    words = [word for part, path in files.items() for word in (f"--{part}", path)]
    result = invoke(
        *(*words, "--config", family / "config.json", "bundle", "--name", "Mine", "--overwrite"),
        *("--float32", "*.stream", "--weight-bits", 11, "--precision", "fp32", "--precision", "int8"),
    )
    assert result.exit_code == 0, result.output
    ((given, output, options),) = exports.calls
    assert given.fingerprint == checkpoint.fingerprint
    assert output == Path("bundle")
    plan = PrecisionPlan(name="float16", float32=("*.stream",))
    assert options == {
        "name": "Mine",
        "plan": plan,
        "precisions": ("float32", "int8"),
        "weight_bits": 11,
        "overwrite": True,
    }


@pytest.mark.parametrize("precision", ["bf16", "auto", "fp8"])
def test_a_precision_without_graphs_is_refused(exports: Exports, family: Path, precision: str) -> None:
    result = invoke(family, "bundle", "--precision", precision)
    assert isinstance(result.exception, ApcodecError)
    assert not exports.calls


def test_notes_and_the_largest_errors_go_to_stderr(exports: Exports, family: Path, checkpoint: Checkpoint) -> None:
    result = invoke(family, "bundle")
    assert result.stdout == ""
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes[: len(checkpoint.notes)] == [f"note: {note}" for note in checkpoint.notes]
    assert "float16 against float32: " in result.stderr
    assert "largest errors against PyTorch: stft " in result.stderr
    assert Bundle.open(exports.bundle).fingerprint[:16] in result.stderr


def test_json_prints_the_description_alone_to_stdout(exports: Exports, family: Path) -> None:
    result = invoke(family, "bundle", "--json")
    assert json.loads(result.stdout) == json.loads((exports.bundle / "model.json").read_text())


@pytest.mark.parametrize(
    "words",
    [
        ["bundle"],
        ["first", "second", "bundle"],
        ["checkpoint", "bundle", "--encoder", "e"],
        ["bundle", "--encoder", "e", "--decoder", "d"],
        ["bundle", "--config", "c"],
        ["checkpoint", "bundle", "--encoder", "e", "--decoder", "d", "--config", "c"],
    ],
    ids=" ".join,
)
def test_other_combinations_name_the_two_forms(exports: Exports, words: list[str]) -> None:
    result = invoke(*words)
    assert result.exit_code != 0
    assert isinstance(result.exception, CheckpointError)
    assert "name CHECKPOINT_DIR BUNDLE, or --encoder, --decoder and --config" in str(result.exception)
    assert not exports.calls


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run ``apcodec export`` as the shell does: its exit code."""

    def call(*words: object) -> object:
        monkeypatch.setattr(sys, "argv", ["apcodec", "export", *map(str, words)])
        # A thread that another test has left would end this process, as it should a command's, without a word.
        monkeypatch.setattr(cli, "any_left", lambda: False)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code

    return call


def test_the_exit_code_is_zero_after_an_export(run: Callable[..., object], exports: Exports, family: Path) -> None:
    assert run(family, "bundle") == 0


def test_an_error_is_one_line_on_stderr_and_exit_code_one(
    run: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, tmp_path / "bundle") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line == f"error: {tmp_path} holds no encoder_* file; expected encoder_*, decoder_* and config.json"
    assert not list(tmp_path.iterdir())


def test_an_existing_bundle_is_kept(
    run: Callable[..., object], family: Path, unpublished_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (unpublished_bundle / "model.json").read_bytes()
    assert run(family, unpublished_bundle) == 1
    assert f"{unpublished_bundle} exists; --overwrite replaces a bundle" in capsys.readouterr().err
    assert (unpublished_bundle / "model.json").read_bytes() == before


@pytest.mark.parametrize("words", [[], ["a", "b", "--no-such-option"]], ids=["nothing", "unknown option"])
def test_wrong_usage_is_exit_code_two(run: Callable[..., object], words: list[str]) -> None:
    assert run(*words) == 2


@pytest.mark.parametrize("absent", ["torch", "onnx", "onnxscript", "safetensors"])
def test_a_missing_package_gives_the_hint_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, exports: Exports, family: Path, absent: str
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name == absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr("apcodec_deploy.errors.importlib.import_module", without)
    result = invoke(family, "bundle")
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'apcodec-deploy[export]'" in str(result.exception)
    assert absent in str(result.exception)
    assert not exports.calls


@pytest.mark.slow
def test_a_checkpoint_on_disk_becomes_a_bundle_that_runs(tmp_path: Path, unpublished: NetworkConfig) -> None:
    checkpoint = random_checkpoint(unpublished)
    numbers = {"sampling_rate": 24000, "n_fft": 256, "win_size": 120, "hop_size": 32, "ratio": 4}
    (tmp_path / "config.json").write_text(json.dumps(numbers))
    for part, module in (("encoder", checkpoint.encoder), ("decoder", checkpoint.decoder)):
        torch.save({part: module.state_dict()}, tmp_path / f"{part}_00000001")
    result = invoke(tmp_path, tmp_path / "bundle", "--precision", "fp32", "--weight-bits", 11, "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made["fingerprint"] == checkpoint.fingerprint
    assert not made["variants"]
    assert made["weights"]["bits"] == 11
    assert min(made["weights"]["judgement"]["code_agreement"]) > 0.9
    with apcodec_deploy.load(tmp_path / "bundle") as codec:
        audio = np.random.default_rng(0).uniform(-0.5, 0.5, 7001).astype(np.float32)
        encoded = codec.encode(audio, 22050)
        assert encoded.codes.shape[1] == 8
        assert codec.decode(encoded).shape == audio.shape
