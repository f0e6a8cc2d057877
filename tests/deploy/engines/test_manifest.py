"""Manifests: read back as written, and every difference said in words."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from apcodec_deploy.engines.manifest import Binding, EngineSet, Identity, Target
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import EngineError


def test_a_manifest_is_read_back_as_written(stored: StoredSet) -> None:
    assert EngineSet.from_json(stored.manifest.to_json()) == stored.manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flavour": "rtx", "version": "1.7.1"}, r"built with TensorRT 11\.4\.0\.106, TensorRT-RTX 1\.7\.1 is here"),
        ({"version": "11.5"}, r"built with TensorRT 11\.4\.0\.106, TensorRT 11\.5 is here"),
        ({"precision": "float32"}, "precision is float16, float32 is wanted"),
        ({"parts": True}, "parts is False, True is wanted"),
        ({"target": Target(gpu="NVIDIA L4", compute_capabilities=("8.9",))}, "target is Simulated GPU, NVIDIA L4 is"),
        ({"flags": {"tf32": True}}, "flags are"),
        ({"graphs": {}}, r"decoder\.fp16\.onnx, .*encoder\.fp16\.onnx.* changed since"),
    ],
)
def test_differences_are_said_in_words(stored: StoredSet, change: dict[str, Any], words: str) -> None:
    identity = stored.manifest.identity
    (found,) = identity.differences(replace(identity, **change))
    assert re.search(words, found), found


def test_an_edited_profile_is_told_from_another_one(stored: StoredSet) -> None:
    identity = stored.manifest.identity
    edited = replace(identity, profile=replace(identity.profile, cuda_graphs=False))
    assert identity.differences(edited) == ["profile tiny has changed"]
    other = replace(identity, profile=replace(identity.profile, name="throughput"))
    assert identity.differences(other) == ["profile is tiny, throughput is wanted"]


def test_one_changed_graph_is_named(stored: StoredSet) -> None:
    identity = stored.manifest.identity
    changed: Identity = replace(identity, graphs={**identity.graphs, "stft.onnx": "0" * 64})
    assert identity.differences(changed) == ["stft.onnx changed since"]
    assert identity.differences(identity) == []


def test_targets_say_why_they_do_not_fit() -> None:
    kind = Target(gpu="NVIDIA L4", compute_capabilities=("8.9",))
    assert kind.refusal("NVIDIA L4", "8.9") is None
    assert kind.refusal("NVIDIA L40S", "8.9") == "built for NVIDIA L4, this is NVIDIA L40S"
    ahead = Target(gpu=None, compute_capabilities=("8.6", "8.9"))
    assert ahead.refusal("NVIDIA L4", "8.9") is None
    assert ahead.refusal("NVIDIA H200", "9.0") == "built for compute capability 8.6, 8.9, NVIDIA H200 has 9.0"


def test_bindings_know_their_shapes() -> None:
    codes = Binding(name="codes", output=True, dtype="int32", dims=("batch", 4, "latents"))
    assert codes.shape({"batch": 3, "latents": 7, "samples": 9}) == (3, 4, 7)


def test_chains_hold_the_engines_of_a_direction(stored: StoredSet) -> None:
    manifest = stored.manifest
    assert [engine.name for engine in manifest.chain("encode")] == ["encode"]
    with pytest.raises(EngineError, match="lacks the engine stft, encoder, quantizer"):
        replace(manifest, identity=replace(manifest.identity, parts=True)).chain("encode")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "else", "format 'else'"),
        (("format_version",), 2, "version 2"),
        (("identity",), None, "damaged"),
        (("identity", "precision_"), 1, "damaged"),
        (("identity", "profile", "shapes"), [], "holds no shapes"),
        (("engines", 0, "bindings"), [{"name": "x"}], "damaged"),
        (("engines", 0, "file"), "../encode.engine", "outside its set"),
        (("engines", 0, "file"), "/encode.engine", "outside its set"),
    ],
)
def test_a_damaged_manifest_is_refused(stored: StoredSet, path: tuple[Any, ...], value: object, words: str) -> None:
    values = json.loads(stored.manifest.to_json())
    held = values
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = value
    del values["checksum"]
    values["checksum"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    with pytest.raises(EngineError, match=words):
        EngineSet.from_json(json.dumps(values))


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_edited_manifest_is_refused_by_its_own_checksum(stored: StoredSet, data: st.DataObject) -> None:
    values = json.loads(stored.manifest.to_json())
    engine = values["engines"][data.draw(st.integers(0, 1))]
    key = data.draw(st.sampled_from(sorted(engine)))
    engine[key] = data.draw(st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none(), max_size=2))
    assume(values != json.loads(stored.manifest.to_json()))
    with pytest.raises(EngineError, match="it was edited or damaged: its own checksum differs"):
        EngineSet.from_json(json.dumps(values))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_manifest_of_anything_is_ours_to_refuse(stored: StoredSet, data: st.DataObject) -> None:
    text = stored.manifest.to_json()
    start = data.draw(st.integers(0, len(text) - 1))
    changed = text[:start] + data.draw(st.text(max_size=9)) + text[start + data.draw(st.integers(0, 40)) :]
    with suppress(EngineError):
        EngineSet.from_json(changed)
