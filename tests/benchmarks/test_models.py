"""Which APCodec is measured: the user's, the embedded one, one exported for this run, which is no proof of anything.

And its plain export: for those who can run it, made before they start, and gone after the run.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from apcodec_benchmarks import models, unfolded
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry, entries_named
from apcodec_benchmarks.models import Model, model_of, plain_export
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli.main import app
from apcodec_deploy.errors import BundleError, CheckpointError, MissingDependencyError
from apcodec_deploy.families import GRAPHS
from apcodec_deploy.proof import FILES
from apcodec_export import exporting, network
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint

REDUCED = ("encoder", "decoder")
UNPROVEN = "the graphs were not compared with PyTorch: for timing only"


def test_demo_is_the_embedded_model() -> None:
    with model_of("demo", None) as model:
        assert model == Model(bundle=str(Bundle.embedded().path), checkpoint=None)


def test_a_bundle_of_the_users_stays_where_it_is(tmp_path: Path) -> None:
    bundle = tmp_path / "mine"
    shutil.copytree(Bundle.embedded().path, bundle)
    before = sorted(bundle.iterdir())
    for checkpoint in (None, tmp_path / "checkpoint"):
        with model_of(str(bundle), checkpoint) as model:
            told = None if checkpoint is None else str(checkpoint)
            assert model == Model(bundle=str(bundle), checkpoint=told)
    assert sorted(bundle.iterdir()) == before


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"), model_of(str(tmp_path), None):
        pass
    with pytest.raises(CheckpointError, match="holds no encoder_"), model_of(None, tmp_path):
        pass


@pytest.fixture(scope="module")
def golden() -> Path:
    return Path(__file__).parents[1] / "golden" / "apcodec_48k_grn_tiny"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made ready for one run: what was told of it, a copy of its bundle, and the steps that were reported."""

    model: Model
    copy: Path
    steps: list[str]


def made_of(checkpoint: Path, copy: Path) -> Made:
    steps: list[str] = []
    with model_of(None, checkpoint, progress=steps.append) as model:
        shutil.copytree(model.bundle, copy)
    return Made(model, copy, steps)


@pytest.fixture(scope="module")
def made(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A golden checkpoint, exported as a measurement of speed does it, in no time: graphs of another model serve."""
    embedded = Bundle.embedded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exporting, "to_onnx", lambda graph, _: onnx.load_from_string(embedded.graph(graph.signature.name))
        )
        patch.setattr(
            exporting,
            "integer_graphs",
            lambda *_: {name: embedded.graph(name, "int8") for name in REDUCED},
        )
        return made_of(golden, tmp_path_factory.mktemp("models") / "made")


def test_a_checkpoint_is_exported_for_the_time_of_the_run(made: Made, golden: Path) -> None:
    assert made.model.checkpoint == str(golden)
    temporary = Path(made.model.bundle).parent
    assert temporary.name.startswith("apcodec-bench-") and not temporary.exists()
    graphs = {f"{name}.onnx" for name in GRAPHS} | {f"{name}.int8.onnx" for name in REDUCED}
    assert {path.name for path in made.copy.iterdir()} == {"model.json", *FILES, *graphs}
    opened = Bundle.open(made.copy)
    assert opened.name == golden.name
    assert opened.fingerprint == Checkpoint.load(CheckpointFiles.find(golden)).fingerprint
    assert opened.precisions == ("float32", "int8")  # whose speed is of interest, too
    assert made.steps == [*(f"exporting {name}.onnx" for name in GRAPHS), "quantising to int8", "judging int8"]


def test_its_manifest_says_that_nobody_compared_it(made: Made) -> None:
    manifest = json.loads((made.copy / "model.json").read_text())
    assert manifest["verification"] == {}
    assert manifest["notes"][-1] == UNPROVEN
    assert manifest["variants"]["int8"]["judgement"] == {"advised": False}
    assert Bundle.open(made.copy).worst_errors == {}


def test_inspect_says_so_too(made: Made) -> None:
    answer = CliRunner().invoke(app, ["inspect", str(made.copy), "--json"])
    facts = json.loads(answer.stdout)
    assert facts["largest_error_vs_pytorch"] == {} and UNPROVEN in facts["notes"]
    answer = CliRunner().invoke(app, ["inspect", str(made.copy)])
    assert answer.exit_code == 0 and UNPROVEN in answer.stdout


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Checkpoint, Path, dict[str, Any]]]:
    """What was asked to be exported; the embedded bundle is put in its place."""
    asked: list[tuple[Checkpoint, Path, dict[str, Any]]] = []

    def export(checkpoint: Checkpoint, output: Path, **options: Any) -> Bundle:
        asked.append((checkpoint, output, options))
        shutil.copytree(Bundle.embedded().path, output)
        return Bundle.open(output)

    monkeypatch.setattr(exporting, "export_bundle", export)
    return asked


@pytest.mark.parametrize("checkpoint", [None, Path("random")])
@pytest.mark.parametrize("reduced", [False, True])
def test_without_any_model_weights_are_random(
    exports: list[tuple[Checkpoint, Path, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path | None,
    reduced: bool,
) -> None:
    small = replace(network.PUBLISHED_48K, dim=8, intermediate_dim=16, num_layers=1)
    monkeypatch.setattr(network, "PUBLISHED_48K", small)
    with model_of(None, checkpoint, reduced=reduced) as model:
        assert model.checkpoint == models.RANDOM == "random"
        assert Bundle.open(model.bundle).path == Path(model.bundle)
    ((source, output, options),) = exports
    assert source.fingerprint == random_checkpoint(small).fingerprint
    assert options["proven"] is reduced  # half precision is for listening, too
    assert "random weights" in options["name"]
    assert not output.parent.exists()


def test_the_temporary_bundle_goes_whatever_happens(
    exports: list[tuple[Checkpoint, Path, dict[str, Any]]], golden: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), model_of(None, golden) as model:
        assert Path(model.bundle).is_dir()
        raise KeyboardInterrupt
    assert not Path(model.bundle).parent.exists()


def test_a_package_that_exports_need_is_named(monkeypatch: pytest.MonkeyPatch, golden: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"onnxscript .*apcodec-deploy\[bench\]"), model_of(None, golden):
        pass
    with model_of("demo", None) as model:
        assert model.checkpoint is None


PLAIN_TOO = ["apcodec", "apcodec-plain"]


def told(entries: list[Entry]) -> dict[str, Any]:
    """What the plain export's contender is told; nobody else is told anything."""
    changed = [each for each, usual in zip(entries, entries_named(PLAIN_TOO), strict=True) if each != usual]
    assert {each.name for each in changed} <= {"apcodec-plain"}
    return dict(changed[0].options) if changed else {}


def test_the_plain_export_is_there_for_the_time_of_the_run(
    exports: list[tuple[Checkpoint, Path, dict[str, Any]]], golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfolded, "export_bundle", exporting.export_bundle)
    with plain_export(entries_named(PLAIN_TOO), Settings(threads=1, checkpoint=str(golden))) as entries:
        bundle = told(entries)["bundle"]
        assert Bundle.open(bundle).path == Path(bundle)
    ((source, output, options),) = exports
    assert source.fingerprint == Checkpoint.load(CheckpointFiles.find(golden)).fingerprint
    assert (options["name"], options["proven"], list(options["made"])) == (golden.name, False, list(GRAPHS))
    assert not output.parent.exists()


@pytest.mark.parametrize("changed", [{"checkpoint": None}, {"device": "cuda"}, {"precision": "float16"}])
def test_no_plain_export_is_made_where_it_cannot_run(
    exports: list[tuple[Checkpoint, Path, dict[str, Any]]], golden: Path, changed: dict[str, Any]
) -> None:
    settings = replace(Settings(threads=1, checkpoint=str(golden)), **changed)
    with plain_export(entries_named(PLAIN_TOO), settings) as entries:
        assert told(entries) == {}
    assert not exports


def test_no_plain_export_is_made_that_nobody_asked_for(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    asked = entries_named(["apcodec", "opus"])
    with plain_export(asked, Settings(threads=1, checkpoint=str(golden))) as entries:
        assert entries == asked


def test_why_there_is_no_plain_export_is_told_to_its_contender(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain_export(entries_named(PLAIN_TOO), Settings(threads=1, checkpoint=str(tmp_path))) as entries:
        assert "holds no encoder_* file" in told(entries)["problem"]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with plain_export(entries_named(PLAIN_TOO), Settings(threads=1, checkpoint=str(golden))) as entries:
        assert "apcodec-deploy[bench]" in told(entries)["problem"]
