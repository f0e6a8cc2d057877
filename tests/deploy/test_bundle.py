"""Bundles: what is checked before a graph is run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.bundle import EMBEDDED, MANIFEST, STREAMABLE_DEMO, Bundle
from apcodec_deploy.errors import BackendError, BundleError, ModelMismatchError
from apcodec_deploy.families import GRAPHS, StreamSpec


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return Path(shutil.copytree(Bundle.embedded().path, tmp_path / "bundle"))


def change(bundle: Path, **values: Any) -> None:
    """Set top-level keys of ``model.json``; None removes one."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest |= values
    kept = {key: value for key, value in manifest.items() if value is not None}
    (bundle / MANIFEST).write_text(json.dumps(kept))


def test_the_embedded_model_is_whole_and_small() -> None:
    bundle = Bundle.embedded()
    assert sum(len(bundle.graph(name)) for name in GRAPHS) < 25e6
    checks = bundle.manifest["verification"]["checks"]
    assert checks.keys() == {*GRAPHS, "round_trip"}
    assert all(check["worst"] <= check["limit"] for check in checks.values())


def test_the_streamable_sibling_ships_as_well() -> None:
    bundle = Bundle.find(STREAMABLE_DEMO)
    assert bundle.path == Bundle.embedded(STREAMABLE_DEMO).path
    assert isinstance(bundle.spec, StreamSpec)
    assert all(bundle.graph(name) for name in bundle.spec.graphs)


def test_none_and_a_name_are_embedded_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Bundle.find(None).path == Bundle.find("demo").path == Bundle.find(Path("demo")).path
    assert [Bundle.find(name).place for name in EMBEDDED] == list(EMBEDDED)
    (tmp_path / "demo").mkdir()  # of something else
    assert Bundle.find("demo").place == "demo"
    with pytest.raises(BundleError, match=r"demo-x is not a bundle .* embedded model: demo, demo-s"):
        Bundle.find("demo-x")


def test_codes_of_the_other_embedded_model_say_which(codec: Codec) -> None:
    with apcodec_deploy.load(STREAMABLE_DEMO) as streamable:
        encoded = streamable.encode(np.zeros(4800, np.float32), 48000)
    with pytest.raises(ModelMismatchError, match="name demo-s with --model"):
        codec.decode(encoded)


def test_a_folder_comes_before_an_embedded_model_of_its_name(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.rename(copy.with_name("demo-s")).parent)
    bundle = Bundle.find("demo-s")
    assert bundle.fingerprint == Bundle.embedded().fingerprint
    assert bundle.place == str(copy.with_name("demo-s"))
    assert Bundle.at("demo-s").path == Bundle.embedded("demo-s").path


def test_a_changed_graph_is_refused_by_checksum(copy: Path) -> None:
    data = bytearray((copy / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "encoder.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"encoder\.onnx is not the file that was exported"):
        apcodec_deploy.load(copy).backend.prepare(encode=True, decode=False)


def test_a_missing_graph_is_named(copy: Path) -> None:
    (copy / "istft.onnx").unlink()
    with pytest.raises(BundleError, match=r"istft\.onnx cannot be read"):
        Bundle.open(copy).graph("istft")


def test_external_data_is_refused(copy: Path) -> None:
    data = (copy / "istft.onnx").read_bytes() + b"\x0a\x08location\x12\x07weights"
    (copy / "istft.onnx").write_bytes(data)
    graphs = Bundle.open(copy).manifest["graphs"]
    graphs["istft"]["sha256"] = hashlib.sha256(data).hexdigest()
    change(copy, graphs=graphs)
    with pytest.raises(BundleError, match="weights in other files"):
        Bundle.open(copy).graph("istft")


def test_a_graph_that_does_not_load_is_named(copy: Path) -> None:
    (copy / "istft.onnx").write_bytes(b"no graph")
    graphs = Bundle.open(copy).manifest["graphs"]
    graphs["istft"]["sha256"] = hashlib.sha256(b"no graph").hexdigest()
    change(copy, graphs=graphs)
    with pytest.raises(BundleError, match="cannot load istft"):
        apcodec_deploy.load(copy).backend.prepare(encode=False, decode=True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "other"}, "does not describe a bundle"),
        ({"format_version": 2}, "version 2"),
        ({"fingerprint": None}, "fingerprint"),
        ({"fingerprint": "beef"}, "damaged"),
        ({"graphs": {}}, "incomplete.*'stft'"),
        ({"graphs": []}, "incomplete"),
        ({"spec": {}}, "lack"),
        ({"spec": 3}, "damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(copy: Path, values: dict[str, Any], words: str) -> None:
    change(copy, **values)
    with pytest.raises(BundleError, match=words):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("graphs", None),
        ("graphs", {"../x": {"sha256": "0" * 64}}),
        ("graphs", {"encoder": {"sha256": "short"}}),
        ("plan", None),
        ("plan", {"layers": []}),
        ("plan", {"layers": {"encoder.latent": 16}}),
        ("judgement", None),
        ("judgement", {"advised": "no"}),
    ],
)
def test_a_variant_that_is_not_whole_is_refused(copy: Path, key: str, value: Any) -> None:
    variants = json.loads((copy / MANIFEST).read_text())["variants"]
    variants["float16"][key] = value
    change(copy, variants=variants)
    with pytest.raises(BundleError, match=r"model\.json is (incomplete|damaged)"):
        Bundle.open(copy)


def test_a_reduced_graph_is_read_by_its_checksum_and_the_rest_in_float32(copy: Path) -> None:
    bundle = Bundle.open(copy)
    assert bundle.precisions == ("float32", "float16", "int8")
    assert bundle.graph("encoder", "float16") == (copy / "encoder.fp16.onnx").read_bytes()
    assert bundle.graph("stft", "float16") == bundle.graph("stft")
    (copy / "encoder.fp16.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"encoder\.fp16\.onnx is not the file that was exported"):
        bundle.graph("encoder", "float16")


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError):
        Bundle.open(copy)


def test_no_bundle_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="apcodec export"):
        apcodec_deploy.load(tmp_path)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(BackendError, match=r"'cuda'.*onnxruntime"):
        apcodec_deploy.load(backend="cuda")
