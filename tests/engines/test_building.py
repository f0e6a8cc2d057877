"""Real builds with TensorRT-RTX, without a GPU: every profile in both precisions, with every product as planned."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_once import made_once

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_engines.building import Built, build_engines
from apcodec_engines.planning import COMPUTE_CAPABILITIES, BuildOptions
from apcodec_engines.profiles import shipped_profiles

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="TensorRT-RTX has wheels for Linux on x86-64 only"
)
OPTIONS = BuildOptions(flavour="rtx", precision="fp16")


def products(built: Built, kind: str) -> dict[str, dict[str, int]]:
    return {engine.name: dict(engine.audit[kind]) for engine in built.stored.manifest.engines if kind in engine.audit}


@pytest.fixture(scope="module")
def full_width(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The published 48 kHz network with random weights and one of its eight blocks, which are all alike.

    That its graphs are right, and what they lose, is proven on smaller ones. Engines are built of no 8-bit graphs. What
    is not the network is of the embedded model's size, and taken from there: tracing it takes longer than a build.
    """
    import onnx

    from apcodec_export import exporting, forms
    from apcodec_export.checkpoint import random_checkpoint
    from apcodec_export.graphs import Graph, to_onnx
    from apcodec_export.judgement import Judgement
    from apcodec_export.network import PUBLISHED_48K

    embedded = Bundle.embedded()

    def traced(graph: Graph, fingerprint: str) -> onnx.ModelProto:
        if graph.signature.name in ("encoder", "decoder"):
            return to_onnx(graph, fingerprint)
        return onnx.load_from_string(embedded.graph(graph.signature.name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "to_onnx", traced)
        patch.setattr(forms, "verify", lambda *_: {})
        for name in ("verify_reduced", "integer_graphs"):
            patch.setattr(exporting, name, lambda *_: {})
        patch.setattr(exporting, "judge", lambda *_: Judgement(limit=65504.0, agreement=[1.0]))
        patch.setattr(exporting, "judge_integers", lambda *_: None)
        checkpoint = random_checkpoint(replace(PUBLISHED_48K, num_layers=1))
        path = made_once("full-width", lambda path: exporting.export_bundle(checkpoint, path), tmp_path_factory)
    return Bundle.open(path)


FAST = ("demo", "low-latency", "float16")
BUILDS = [
    *(("demo", profile, "float16") for profile in shipped_profiles()),
    *(("demo", profile, "float32") for profile in ("low-latency", "max-window")),
    ("full_width", "low-latency", "float16"),
    ("full_width", "throughput", "float32"),
]
"""Of the embedded model and one of the published width, each with its costliest profile once."""


@pytest.mark.parametrize(
    ("name", "profile", "precision"),
    [pytest.param(*build, marks=[] if build == FAST else [pytest.mark.slow]) for build in BUILDS],
)
def test_every_profile_builds_with_every_product_in_its_precision(
    request: pytest.FixtureRequest, name: str, profile: str, precision: str
) -> None:
    model: Bundle = request.getfixturevalue(name)
    built = build_engines(model, replace(OPTIONS, precision=precision, profile=profile))
    layers = model.manifest["network"]["num_layers"]
    # Per branch a depthwise convolution a block, and an embedding where there are frames; then two down and one to the
    # latent, or a front and three heads.
    convolutions = {"encode": 2 * (1 + layers) + 3, "decode": 2 * (1 + layers) + 3}
    # A front has two more, for the clip's ends.
    linears = {"encode": 2 * 2 * layers, "decode": 2 * (2 * layers + 2)}
    assert products(built, "CONVOLUTION") == {name: {precision: count} for name, count in convolutions.items()}
    matrices = products(built, "MATRIX_MULTIPLY")
    # Two products of each transform, one per codebook of the search and a sum over frames per block are float32 always.
    rest = {"encode": 2 + model.spec.num_codebooks + 2 * layers, "decode": 2 + 2 * layers}
    for name, count in rest.items():
        if precision == "float32":
            assert matrices[name] == {"float32": linears[name] + count}
        else:
            assert matrices[name] == {"float16": linears[name], "float32": count}
    assert products(built, "NORMALIZATION").keys() == {"encode", "decode"}
    assert all(set(counts) == {"float32"} for counts in products(built, "NORMALIZATION").values())


@pytest.mark.slow
def test_half_precision_networks_take_three_fifths_of_the_room_at_most(full_width: Bundle) -> None:
    sizes = {}
    for precision in ("fp16", "fp32"):
        built = build_engines(full_width, replace(OPTIONS, precision=precision, parts=True))
        sizes[precision] = {engine.name: engine.size for engine in built.stored.manifest.engines}
    for name in ("encoder", "decoder"):
        assert sizes["fp16"][name] <= 0.6 * sizes["fp32"][name], name


@pytest.mark.slow
def test_the_manifest_tells_everything(demo: Bundle, cache: Path) -> None:
    import tensorrt_rtx

    reports: list[tuple[str, float]] = []
    built = build_engines(demo, OPTIONS, report=lambda *report: reports.append(report))
    stored = built.stored
    assert built.reasons == ("there are no engines yet",)
    assert stored.path.parent.parent == cache
    manifest, identity = stored.manifest, stored.manifest.identity
    assert (manifest.bundle, manifest.fingerprint) == (demo.name, demo.fingerprint)
    assert (identity.flavour, identity.version) == ("rtx", tensorrt_rtx.__version__)
    assert (identity.precision, identity.parts, identity.profile.name) == ("float16", False, "low-latency")
    assert identity.target.compute_capabilities == COMPUTE_CAPABILITIES
    assert identity.flags == {"tf32": False}
    assert all(engine.build_seconds > 0 for engine in manifest.engines)
    assert [engine.check for engine in manifest.engines] == [None, None]
    assert manifest.notes[0].startswith("the engines were not run here: no NVIDIA driver")
    assert {what for what, _ in reports} == {"building encode in float16", "building decode in float16"}
    shares = [share for what, share in reports if what.startswith("building encode")]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    # Nothing but the set and its lock is left.
    assert {path.name for path in stored.path.iterdir()} == {MANIFEST, ".lock", *(e.file for e in manifest.engines)}
