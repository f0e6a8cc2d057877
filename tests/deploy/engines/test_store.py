"""Engines on disk: nothing that was cut, edited, moved or put there by others is ever handed to TensorRT."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from gpu_simulator.building import simulated_set

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.engines.store import StoredSet, cache_root, graph_keys, sets_of, slot, stored_sets
from apcodec_deploy.errors import EngineError

HERE = {"flavour": "tensorrt", "version": "11.4.0.106", "gpu": "Simulated GPU", "compute_capability": "8.9"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APCODEC_ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_engines_are_read_as_they_were_written(stored: StoredSet) -> None:
    for engine in stored.manifest.engines:
        assert stored.read(engine) == (stored.path / engine.file).read_bytes()


def test_a_cut_engine_is_refused(stored: StoredSet) -> None:
    engine = stored.manifest.engines[0]
    os.truncate(stored.path / engine.file, engine.size - 1)
    with pytest.raises(EngineError, match=rf"has {engine.size - 1} bytes, engines\.json says {engine.size}"):
        stored.read(engine)


@pytest.mark.skipif(os.name != "posix", reason="there are no pipes in folders elsewhere")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(stored: StoredSet) -> None:
    for name in (stored.manifest.engines[0].file, MANIFEST):
        (stored.path / name).unlink()
        os.mkfifo(stored.path / name)
    with pytest.raises(EngineError, match=r"encode\.engine is no regular file"):
        stored.read(stored.manifest.engines[0])
    with pytest.raises(EngineError, match=r"engines\.json is no regular file"):
        StoredSet.open(stored.path)


def test_an_edited_engine_is_refused_by_checksum(stored: StoredSet) -> None:
    engine = stored.manifest.engines[1]
    data = bytearray((stored.path / engine.file).read_bytes())
    data[len(data) // 2] ^= 1
    (stored.path / engine.file).write_bytes(data)
    with pytest.raises(EngineError, match="is not the engine that was built: its checksum differs"):
        stored.read(engine)


def test_a_missing_engine_is_named(stored: StoredSet) -> None:
    (stored.path / stored.manifest.engines[0].file).unlink()
    with pytest.raises(EngineError, match=r"encode\.engine cannot be read .*build the engines again"):
        stored.read(stored.manifest.engines[0])


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
def test_a_folder_that_everybody_may_write_to_is_refused(stored: StoredSet) -> None:
    stored.path.chmod(0o777)
    with pytest.raises(EngineError, match="everybody may write to"):
        stored.read(stored.manifest.engines[0])


def test_a_folder_without_engines_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"holds no engines .*apcodec build"):
        StoredSet.open(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(EngineError, match=r"damaged .*build the engines again"):
        StoredSet.open(tmp_path)
    (tmp_path / MANIFEST).write_text(" " * (1 << 21))
    with pytest.raises(EngineError, match="too large"):
        StoredSet.open(tmp_path)


def test_engines_of_this_bundle_version_and_gpu_may_run(stored: StoredSet) -> None:
    assert stored.refusals(Bundle.embedded(), **HERE) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "11.5"}, "built with tensorrt 11.4.0.106, tensorrt 11.5 is here"),
        ({"flavour": "rtx"}, "built with tensorrt 11.4.0.106, rtx 11.4.0.106 is here"),
        ({"gpu": "NVIDIA L4"}, "built for Simulated GPU, this is NVIDIA L4"),
        ({"compute_capability": "9.0"}, "built for compute capability 8.9, Simulated GPU has 9.0"),
    ],
)
def test_other_surroundings_are_refused(stored: StoredSet, change: dict[str, str], words: str) -> None:
    assert stored.refusals(Bundle.embedded(), **(HERE | change)) == [words]


def test_engines_of_other_weights_are_refused(stored: StoredSet) -> None:
    bundle = Bundle.embedded()
    variants = {**bundle.manifest["variants"]}
    held = variants["float16"]["graphs"]
    graphs = {**held, "decoder": {**held["decoder"], "sha256": "0" * 64}}
    variants["float16"] = {**variants["float16"], "graphs": graphs}
    changed = replace(bundle, manifest={**bundle.manifest, "variants": variants})
    assert stored.refusals(changed, **HERE) == ["decoder.fp16.onnx changed since"]


def test_a_precision_is_built_from_its_own_networks_and_the_float32_rest() -> None:
    assert graph_keys(Bundle.embedded(), "float16").keys() == {
        "stft.onnx",
        "encoder.fp16.onnx",
        "quantizer.onnx",
        "dequantizer.onnx",
        "decoder.fp16.onnx",
        "istft.onnx",
    }


def test_the_cache_is_the_users_or_what_the_environment_names(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == cache
    monkeypatch.delenv("APCODEC_ENGINE_CACHE")
    monkeypatch.delenv("APCODEC_CACHE")
    assert cache_root().parts[-2:] == ("apcodec-deploy", "engines")


def test_what_a_user_wants_side_by_side_has_its_own_place(stored: StoredSet, cache: Path) -> None:
    bundle, identity = Bundle.embedded(), stored.manifest.identity
    places = {
        slot(bundle, each)
        for each in (
            identity,
            replace(identity, precision="float32"),
            replace(identity, flavour="rtx"),
            replace(identity, parts=True),
            replace(identity, profile=replace(identity.profile, name="other")),
            replace(identity, target=replace(identity.target, gpu="NVIDIA L4")),
        )
    }
    assert len(places) == 6
    assert {place.parent for place in places} == {sets_of(bundle)}
    # What makes the same set stale does not move it.
    assert slot(bundle, replace(identity, version="12", graphs={}, flags={})) == slot(bundle, identity)


def test_bundles_of_one_name_do_not_share_a_place(cache: Path, tmp_path: Path) -> None:
    bundle = Bundle.embedded()
    assert sets_of(bundle) != sets_of(replace(bundle, path=tmp_path))
    assert sets_of(replace(bundle, name="../../x y")).parent == cache


def test_cached_sets_are_listed_newest_first_and_damaged_ones_passed_over(cache: Path, profile: Profile) -> None:
    bundle = Bundle.embedded()
    assert list(stored_sets(bundle)) == []
    for day, name in enumerate(("a", "b", "c"), start=1):
        made = simulated_set(bundle, sets_of(bundle) / name, profile)
        dated = replace(made.manifest, built=f"2026-01-0{day}T00:00:00+00:00")
        (made.path / MANIFEST).write_text(dated.to_json())
    (sets_of(bundle) / "b" / MANIFEST).write_text("{")
    assert [stored.path.name for stored in stored_sets(bundle)] == ["c", "a"]
