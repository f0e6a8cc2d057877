"""Exporting a checkpoint: a complete bundle, of any network, that appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import apcodec_deploy
from apcodec_deploy import proof
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ExportError, OutputError
from apcodec_export import exporting, forms
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.exporting import UNPROVEN, export_bundle, steps_of
from apcodec_export.graphs import Graph, graphs
from apcodec_export.integers import IntegerJudgement
from apcodec_export.judgement import Judgement

NAMES = ("stft", "encoder", "quantizer", "dequantizer", "decoder", "istft")
REDUCED = {f"{name}.{short}.onnx" for name in ("encoder", "decoder") for short in ("fp16", "int8")}
FILES = {*(f"{name}.onnx" for name in NAMES), *REDUCED, *proof.FILES}
EXPORTED = "abcdef"
"""A file's content, where it matters only that it is left alone."""


def test_a_bundle_is_a_description_six_graphs_and_the_reduced_networks(unpublished_bundle: Path) -> None:
    assert {path.name for path in unpublished_bundle.iterdir()} == {"model.json", *FILES}


def test_the_description_names_every_graph_with_its_checksum(bundle: Path) -> None:
    held = json.loads((bundle / "model.json").read_text())["graphs"]
    assert held == {
        name: {
            "file": f"{name}.onnx",
            "bytes": (bundle / f"{name}.onnx").stat().st_size,
            "sha256": hashlib.sha256((bundle / f"{name}.onnx").read_bytes()).hexdigest(),
        }
        for name in NAMES
    }


@pytest.mark.parametrize("family", ["layerscale"], indirect=True)
def test_the_description_holds_the_models_numbers(proven_bundle: Path, family: Path, checkpoint: Checkpoint) -> None:
    manifest = json.loads((proven_bundle / "model.json").read_text())
    assert not manifest["notes"].count(UNPROVEN) and Bundle.open(proven_bundle).worst_errors
    assert {path.name for path in proven_bundle.iterdir()} == {"model.json", *FILES} - REDUCED
    assert not _wrong_checks(manifest["verification"])
    config = json.loads((family / "config.json").read_text())
    assert manifest["fingerprint"] == checkpoint.fingerprint
    assert manifest["network"] == asdict(checkpoint.network)
    spec = manifest["spec"]
    assert spec["sample_rate"] == config["sampling_rate"]
    assert all(spec[key] == config[key] for key in ("n_fft", "win_size", "hop_size", "ratio", "latent_dim"))
    assert spec["num_codebooks"] == config.get("n_codebooks", 4)
    assert spec["codebook_size"] == 1024
    assert (manifest["format"], manifest["format_version"], manifest["opset"]) == ("apcodec-bundle", 1, 20)
    assert manifest["notes"] == list(checkpoint.notes)
    assert manifest["exporter"].keys() == {"apcodec-deploy", "torch", "onnx", "onnxscript"}


def test_a_precision_that_loses_too_much_is_noted(unpublished_bundle: Path, unpublished_grn: Checkpoint) -> None:
    manifest = Bundle.open(unpublished_bundle).manifest
    assert manifest["variants"].keys() == {"float16", "int8"}
    unadvised = [name for name, each in manifest["variants"].items() if not each["judgement"]["advised"]]
    assert "float16" in unadvised, "random weights lose much"
    notes = manifest["notes"]
    assert notes[: len(unpublished_grn.notes)] == list(unpublished_grn.notes)
    # And nothing else is.
    assert {note.partition(":")[0] for note in notes[len(unpublished_grn.notes) :]} == set(unadvised)


def test_the_description_says_where_nobody_compared_the_graphs(grn_bundle: Path) -> None:
    assert UNPROVEN in Bundle.open(grn_bundle).manifest["notes"]


def _wrong_checks(verification: dict[str, Any]) -> list[str]:
    """Checks whose worst case is beyond their limit, or that left cases out."""
    assert verification["checks"].keys() == {*NAMES, "round_trip"}
    cases = len(verification["lengths_frames"]) * len(verification["batches"])
    return [
        name
        for name, check in verification["checks"].items()
        if not 0 <= check["worst"] <= check["limit"] or check["cases"] != cases
    ]


def test_the_description_holds_what_verification_found(unpublished_bundle: Path) -> None:
    verification = json.loads((unpublished_bundle / "model.json").read_text())["verification"]
    assert not _wrong_checks(verification)
    lengths = verification["lengths_frames"]
    assert len(lengths) == 5
    assert 1 in lengths
    assert any(length % 8 for length in lengths[1:])
    assert {len(batch) for batch in verification["batches"]} == {1, 2, 3}


def test_a_bundle_opens_with_checked_graphs(bundle: Path, checkpoint: Checkpoint) -> None:
    opened = Bundle.open(bundle)
    assert (opened.name, opened.fingerprint) == (bundle.name, checkpoint.fingerprint)
    assert opened.spec == checkpoint.network.spec()
    assert all(opened.graph(name) == (bundle / f"{name}.onnx").read_bytes() for name in NAMES)


def test_a_network_of_no_published_family_runs(unpublished_bundle: Path) -> None:
    with apcodec_deploy.load(unpublished_bundle) as codec:
        assert (codec.sample_rate, codec.samples_per_latent, codec.num_codebooks) == (24000, 128, 8)
        for samples in (1, 127, 128, 5003):
            audio = np.random.default_rng(samples).uniform(-0.5, 0.5, (2, samples)).astype(np.float32)
            encoded = codec.encode(audio)
            assert encoded.codes.shape == (2, 8, samples // 128 + 1)
            decoded = codec.decode(encoded)
            assert decoded.shape == audio.shape
            assert np.isfinite(decoded).all()


def test_a_bundle_appears_alone_and_under_the_name_it_was_given(unpublished_bundle: Path) -> None:
    assert not [path for path in unpublished_bundle.parent.iterdir() if path.name.startswith(".")]
    assert Bundle.open(unpublished_bundle).name == "Sibling"


@pytest.fixture
def prepared(
    monkeypatch: pytest.MonkeyPatch, unpublished_grn: Checkpoint, unpublished_bundle: Path
) -> Callable[..., Bundle]:
    """``export_bundle`` of a checkpoint whose graphs were made and verified before, so that only placing is left."""
    monkeypatch.setattr(
        exporting, "to_onnx", lambda graph, _: onnx.load(unpublished_bundle / f"{graph.signature.name}.onnx")
    )
    bundle = Bundle.open(unpublished_bundle)
    integers = {name: bundle.graph(name, "int8") for name in ("encoder", "decoder")}
    held = {name: (unpublished_bundle / name).read_bytes() for name in proof.FILES}
    for name, result in {
        "verify": bundle.manifest["verification"],
        "verify_reduced": {},
        "integer_graphs": integers,
        "judge_integers": IntegerJudgement(agreement=[1.0]),
        "judge": Judgement(limit=65504.0, agreement=[1.0]),
        "proof_files": held,
    }.items():
        place = forms if name == "verify" else exporting
        monkeypatch.setattr(place, name, lambda *_, result=result: result)
    return partial(export_bundle, unpublished_grn)


def test_progress_is_reported_as_often_as_was_said(
    prepared: Callable[..., Bundle], unpublished_grn: Checkpoint, tmp_path: Path
) -> None:
    steps: list[str] = []
    prepared(tmp_path / "bundle", progress=steps.append)
    assert len(steps) == steps_of(unpublished_grn)
    assert all(any(name in step for step in steps) for name in NAMES)


def test_graphs_that_are_given_are_exported_in_place_of_the_deployed_ones(
    unpublished_grn: Checkpoint, unpublished_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = graphs(unpublished_grn)
    asked: list[Graph] = []

    def watched(graph: Graph, fingerprint: str) -> onnx.ModelProto:
        asked.append(graph)
        return onnx.load(unpublished_bundle / f"{graph.signature.name}.onnx")

    monkeypatch.setattr(exporting, "to_onnx", watched)
    export_bundle(unpublished_grn, tmp_path / "bundle", made=given, proven=False)
    assert [id(graph) for graph in asked] == [id(graph) for graph in given.values()]


def _snapshot(directory: Path) -> dict[str, bytes | None]:
    """Every path below a directory, with what it holds."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def _fails(*_: object) -> dict[str, Any]:
    raise ExportError("the exported graphs differ from PyTorch")


def _disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_bundle_is_named_after_its_directory(prepared: Callable[..., Bundle], tmp_path: Path) -> None:
    assert prepared(tmp_path / "speech-v2").name == "speech-v2"


def test_a_failed_verification_leaves_nothing_behind(
    prepared: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "verify", _fails)
    with pytest.raises(ExportError):
        prepared(tmp_path / "new" / "bundle")
    assert not _snapshot(tmp_path)


def test_a_full_disk_leaves_no_part_of_a_bundle(
    prepared: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", _disk_full)
    with pytest.raises(OutputError, match="bundle cannot be written: No space left on device"):
        prepared(tmp_path / "bundle")
    assert not _snapshot(tmp_path)


def test_a_failed_export_leaves_the_bundle_that_was_there(
    prepared: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path / "bundle")
    before = _snapshot(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(ExportError):
        patch.setattr(forms, "verify", _fails)
        prepared(tmp_path / "bundle", overwrite=True)
    assert _snapshot(tmp_path) == before
    with monkeypatch.context() as patch, pytest.raises(OutputError):
        patch.setattr(Path, "write_bytes", _disk_full)
        prepared(tmp_path / "bundle", overwrite=True)
    assert _snapshot(tmp_path) == before


def test_a_bundle_that_cannot_be_moved_into_place_gives_the_old_one_back(
    prepared: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path / "bundle")
    before = _snapshot(tmp_path)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            _disk_full()
        return rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(OutputError):
        patch.setattr(Path, "rename", refuse)
        prepared(tmp_path / "bundle", overwrite=True)
    assert _snapshot(tmp_path) == before


def test_an_existing_bundle_is_replaced_only_when_asked(prepared: Callable[..., Bundle], tmp_path: Path) -> None:
    prepared(tmp_path / "bundle", name="first")
    with pytest.raises(OutputError, match="exists; --overwrite replaces a bundle"):
        prepared(tmp_path / "bundle", name="second")
    assert Bundle.open(tmp_path / "bundle").name == "first"
    prepared(tmp_path / "bundle", name="second", overwrite=True)
    assert Bundle.open(tmp_path / "bundle").name == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_empty_directory_may_become_a_bundle(prepared: Callable[..., Bundle], tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    prepared(tmp_path / "bundle", overwrite=True)
    assert len(list((tmp_path / "bundle").iterdir())) == len(FILES) + 1


def _file(path: Path) -> None:
    path.write_text(EXPORTED)


def _directory_of_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text(EXPORTED)


def _another_programs_model(path: Path) -> None:
    path.mkdir()
    (path / "model.json").write_text('{"format": "layers-model"}')
    (path / "weights.bin").write_text(EXPORTED)


@pytest.mark.parametrize("make", [_file, _directory_of_files, _another_programs_model])
def test_what_is_no_bundle_is_never_replaced(
    prepared: Callable[..., Bundle], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "bundle")
    before = _snapshot(tmp_path)
    with pytest.raises(OutputError, match="is no bundle, so it is not replaced"):
        prepared(tmp_path / "bundle", overwrite=True)
    assert _snapshot(tmp_path) == before


def test_replacing_through_a_link_leaves_nothing_beside_it(prepared: Callable[..., Bundle], tmp_path: Path) -> None:
    prepared(tmp_path / "v1", name="first")
    (tmp_path / "current").symlink_to("v1")
    prepared(tmp_path / "current", name="second", overwrite=True)
    assert Bundle.open(tmp_path / "current").name == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "v1"]


def test_the_working_directory_can_be_the_bundle(
    prepared: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle").mkdir()
    monkeypatch.chdir(tmp_path / "bundle")
    prepared(Path(), overwrite=True)
    assert Bundle.open(tmp_path / "bundle").name == "bundle"


def test_what_is_in_the_way_is_found_before_anything_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpublished_grn: Checkpoint
) -> None:
    monkeypatch.setattr(forms, "graphs", _fails)
    with pytest.raises(OutputError):
        export_bundle(unpublished_grn, tmp_path)


def test_a_place_below_a_file_is_an_output_error(prepared: Callable[..., Bundle], tmp_path: Path) -> None:
    (tmp_path / "file").write_text(EXPORTED)
    with pytest.raises(OutputError, match="cannot be written"):
        prepared(tmp_path / "file" / "bundle")
