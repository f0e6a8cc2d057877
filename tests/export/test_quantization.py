"""8-bit graphs: the products that a plan names, and only those, rounded as 8 bits round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ExportError
from apcodec_deploy.families import STREAM_GRAPHS
from apcodec_deploy.ort import onnxruntime
from apcodec_export import integers
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.deployed.precision import INTEGER
from apcodec_export.forms import StreamForm, layer_paths
from apcodec_export.graphs import to_onnx
from apcodec_export.integers import IntegerJudgement, integer_graphs, judge_integers
from apcodec_export.network import NetworkConfig
from apcodec_export.quantization import quantized


def product_of(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feed)
    return np.asarray(result)


@pytest.fixture
def linear() -> onnx.ModelProto:
    """One product of 16 by 8, and a second that nobody names."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((16, 8), (8, 8))]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("MatMul", ["x", "first.weight"], ["h"], name="first"),
            onnx.helper.make_node("MatMul", ["h", "second.weight"], ["y"], name="second"),
        ],
        "two",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 8])],
        [onnx.numpy_helper.from_array(w, f"{n}.weight") for w, n in zip(weights, ("first", "second"), strict=True)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.processor
def test_a_product_is_that_of_rounded_numbers(linear: onnx.ModelProto) -> None:
    x = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    first, second = (onnx.numpy_helper.to_array(tensor) for tensor in linear.graph.initializer)
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    rounded = (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale
    steps = np.abs(first).max(axis=0) / 64  # 7 bits
    expected = rounded @ (np.round(first / steps) * steps) @ second
    found = product_of(quantized(linear, ["first"], [{"x": x}]), {"x": x})
    # A number halfway between two steps may go to either.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max())
    assert np.abs(found - x @ first @ second).max() > 1e-3 * np.abs(expected).max()


def test_the_graph_that_came_in_stays_as_it_was(linear: onnx.ModelProto) -> None:
    before = linear.SerializeToString(deterministic=True)
    quantized(linear, ["first"], [{"x": np.ones((1, 16), np.float32)}])
    assert linear.SerializeToString(deterministic=True) == before


def test_a_product_that_is_not_there_is_named(linear: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="the graph two has no product called third"):
        quantized(linear, ["first", "third"], [])


@pytest.fixture
def integer(unpublished_bundle: Path) -> dict[str, bytes]:
    """The 8-bit graphs of a small network, as its export made them."""
    bundle = Bundle.open(unpublished_bundle)
    return {name: bundle.graph(name, INTEGER.name) for name in bundle.spec.reduced}


def test_exactly_the_planned_products_are_8_bit(unpublished_grn: Checkpoint, integer: dict[str, bytes]) -> None:
    paths = {path for path in layer_paths(unpublished_grn, INTEGER) if INTEGER.quantizes(path)}
    assert {"encoder.phase.embed", "decoder.real_head"} <= paths and "encoder.amplitude.embed" not in paths
    assert not [path for path in paths if path.endswith(("depthwise", "latent", "_down", "inside", "stream"))]
    found = set()
    for part, data in integer.items():
        graph = onnx.load_from_string(data).graph
        held = {tensor.name: tensor.data_type for tensor in graph.initializer}
        made = {output: node for node in graph.node for output in node.output}
        for node in graph.node:
            if node.op_type in ("Conv", "MatMul"):
                sources = [made.get(name) for name in node.input[:2]]
                if all(source is not None and source.op_type == "DequantizeLinear" for source in sources):
                    weight = sources[1]
                    assert weight is not None and held[weight.input[0]] == onnx.TensorProto.INT8
                    found.add(f"{part}.{node.name}")
    assert found == paths


@pytest.mark.slow
def test_the_same_checkpoint_gives_the_same_bytes(unpublished_grn: Checkpoint, integer: dict[str, bytes]) -> None:
    assert integer_graphs(unpublished_grn, {}) == integer


@pytest.mark.slow
def test_the_float32_graphs_of_streams_are_those_that_8_bits_would_get(streamable_bundle: Path) -> None:
    bundle = Bundle.open(streamable_bundle)
    form = StreamForm(random_checkpoint(NetworkConfig(**bundle.manifest["network"])))
    models = {name: bundle.graph(name) for name in STREAM_GRAPHS}
    traced = {name: to_onnx(graph, bundle.fingerprint) for name, graph in form.reduced(form.integer).items()}
    assert form.before_integers(models) == traced


def test_a_bundle_says_what_its_8_bit_graphs_cost() -> None:
    variant = Bundle.embedded().variant("int8")
    judgement = variant["judgement"]
    assert judgement["advised"] is True
    assert len(judgement["code_agreement"]) == 4
    assert max(judgement["log_spectral_distance"].values()) <= integers.MAX_DISTANCE
    assert variant["plan"]["layers"]["encoder.phase.blocks.3.contract"] == "int8"
    for path in ("encoder.latent", "decoder.amplitude.blocks.3.contract"):
        assert variant["plan"]["layers"][path] == "float32"


def test_graphs_that_lose_the_codes_are_not_advised(unpublished_grn: Checkpoint, integer: dict[str, bytes]) -> None:
    assert len(judge_integers(unpublished_grn, integer).agreement) == unpublished_grn.network.num_codebooks
    broken = {}
    for name, data in integer.items():
        model = onnx.load_from_string(data)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8:
                values = np.roll(onnx.numpy_helper.to_array(tensor), 1, axis=0)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        broken[name] = model.SerializeToString()
    judgement = judge_integers(unpublished_grn, broken)
    assert judgement.to_dict()["advised"] is False
    assert "of the codes are those of float32 (limit 75%)" in judgement.problems[0]


def test_sound_that_is_farther_from_the_original_is_a_problem() -> None:
    judgement = IntegerJudgement(agreement=[0.9], distance={"speech": 0.04, "music": 0.2, "other": float("nan")})
    assert judgement.problems == ["the log-spectral distance grows by music +0.200, other +nan (limit 0.05)"]


def test_the_distance_is_that_of_the_published_metric() -> None:
    from apcodec_benchmarks.metrics.spectral import lsd

    first, second = torch.randn(2, 1, 9000, generator=torch.Generator().manual_seed(0))
    expected = lsd(first[0].numpy(), second[0].numpy(), 48_000)
    assert integers._distance(first, second, 0) == pytest.approx(expected, rel=1e-4)
