"""Arithmetic counted from graphs: beside counts by hand, PyTorch's own counter, and runs of the graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from apcodec_benchmarks.arithmetic.graphs import Work, bundle_work, work_of
from apcodec_benchmarks.arithmetic.published import published_products
from apcodec_benchmarks.arithmetic.tensors import tensors_of
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.families import GRAPHS
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.layers import GlobalResponse, Product
from apcodec_export.graphs import graphs
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.network import PUBLISHED_48K, NetworkConfig

FRAMES = 48
# Unlike numbers wherever the network allows it, so that none can stand for another.
SMALL = replace(
    PUBLISHED_48K, n_fft=128, win_size=80, hop_size=16, ratio=4, dim=12, intermediate_dim=20, num_layers=2,
    embed_kernel=5, depthwise_kernel=3, encoder_amp_channels=6, decoder_amp_channels=6, encoder_pha_channels=10,
    decoder_pha_channels=10, amp_down_kernel=5, pha_down_kernel=9, amp_up_kernel=8, pha_up_kernel=10,
    latent_output_kernel=3, latent_input_kernel=5, amp_output_kernel=3, real_output_kernel=5, imag_output_kernel=7,
    latent_dim=7, codebook_dim=4, codebook_size=32,
)  # fmt: skip


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray[Any, Any]],
    output: str = "y",
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hand_made",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(output)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def one_product(
    kind: str, inputs: Mapping[str, Sequence[int | str]], *shapes: Sequence[int], **attributes: Any
) -> Work:
    weights = {f"w{place}": zeros(*shape) for place, shape in enumerate(shapes)}
    node = helper.make_node(kind, [*inputs, *weights], ["y"], name="layer", **attributes)
    return work_of(model_of([node], inputs, weights), {"frames": 10})


def flops(module: nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()


def published_flops(network: NetworkConfig, frames: int) -> dict[str, int]:
    """By PyTorch's counter, over the modules of the published network; no number is computed."""
    with torch.device("meta"):
        encoder, decoder = Encoder(network), Decoder(network)
        spectrum = torch.empty(1, network.bins, frames), torch.empty(1, network.bins, frames)
        latent = torch.empty(1, network.latent_dim, -(-frames // network.ratio))
    return {"encoder": flops(encoder, *spectrum), "decoder": flops(decoder, latent)}


def test_a_strided_grouped_convolution_is_counted_per_output() -> None:
    # 8 channels in 2 groups to 6, kernel 5, stride 3 and 2 frames of padding on each side: 10 frames give 4.
    work = one_product("Conv", {"x": [2, 8, "frames"]}, (6, 4, 5), (6,), group=2, strides=[3], pads=[2, 2])
    assert work.products == 2 * (2 * 6 * 4) * (4 * 5)
    assert work.pointwise == 2 * 6 * 4  # the bias
    assert work.by_layer == {"layer": work.products}


def test_a_dilated_convolution_gives_fewer_frames_and_not_more_taps() -> None:
    work = one_product("Conv", {"x": [1, 3, "frames"]}, (5, 3, 3), dilations=[4])
    assert (work.products, work.pointwise) == (2 * (5 * 2) * (3 * 3), 0)


def test_a_transposed_convolution_is_counted_per_input() -> None:
    work = one_product("ConvTranspose", {"x": [1, 8, "frames"]}, (8, 3, 4), group=2, strides=[2], pads=[1, 1])
    assert work.products == 2 * (8 * 10) * (3 * 4)
    with torch.device("meta"):
        layer = nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1, groups=2)
        assert work.products == flops(layer, torch.empty(1, 8, 10))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([4, "frames", 3], [3, 5], 2 * 4 * 10 * 3 * 5),
        ([2, 7, 3], [3, "frames"], 2 * 2 * 7 * 3 * 10),
        ([4, 1, "frames", 3], [2, 3, 5], 2 * 4 * 2 * 10 * 3 * 5),
        ([3], [2, 3, 5], 2 * 2 * 3 * 5),
        ([2, "frames", 3], [3], 2 * 2 * 10 * 3),
    ],
)
def test_batched_matrix_products_are_counted(
    left: Sequence[int | str], right: Sequence[int | str], expected: int
) -> None:
    assert one_product("MatMul", {"a": left, "b": right}).products == expected


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_counts_its_inner_axis_once(transposed: int) -> None:
    shape: list[int | str] = [3, "frames"] if transposed else ["frames", 3]
    work = one_product("Gemm", {"x": shape}, (3, 5), (5,), transA=transposed)
    assert (work.products, work.pointwise) == (2 * 10 * 3 * 5, 10 * 5)


def test_bytes_and_pointwise_operations_add_up_by_hand() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["view"]),
        helper.make_node("Mul", ["view", "view"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axis"], ["mean"]),
        helper.make_node("Slice", ["mean", "axis", "axis_end", "axis"], ["y"]),
    ]
    weights = {
        "w": zeros(3, 6),
        "shape": np.array([-1, 12]),
        "axis": np.array([0]),
        "axis_end": np.array([1]),
    }
    work = work_of(model_of(nodes, {"x": ["frames", 3]}, weights), {"frames": 10})
    assert work.pointwise == 60 + 60  # square, mean
    assert work.least_bytes == 4 * (30 + 18 + 12) + 8 * (2 + 1 + 1)
    assert work.least_bytes_of(3) == 4 * (3 * 30 + 18 + 3 * 12) + 8 * (2 + 1 + 1)  # weights are read once
    product, square, mean = 4 * (30 + 18 + 60), 4 * (60 + 60), 4 * (60 + 12) + 8
    cut = 4 * (12 + 12) + 8 * 2
    assert work.written_bytes == product + square + mean + cut


def test_a_table_costs_what_is_looked_up_and_no_more_than_it_holds() -> None:
    node = helper.make_node("Gather", ["table", "codes"], ["y"])
    model = model_of([node], {"codes": ["frames"]}, {"table": zeros(100, 8)}, dtype=TensorProto.INT64)
    few, many = (work_of(model, {"frames": frames}) for frames in (3, 1000))
    assert few.least_bytes == 3 * 8 + 2 * 3 * 8 * 4
    assert many.least_bytes == 1000 * 8 + 100 * 8 * 4 + 1000 * 8 * 4


@pytest.mark.parametrize(
    ("node", "axes", "message"),
    [
        (
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            {"samples": 10},
            "frames has no size; there are sizes for samp",
        ),
        (
            helper.make_node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"),
            {"frames": 10},
            "Einsum 'y' cannot be co",
        ),
        (helper.make_node("MatMul", ["x", "w"], ["y"], domain="other"), {"frames": 10}, "only ONNX's own operators"),
        (helper.make_node("MatMul", ["x", "nothing"], ["y"]), {"frames": 10}, "reads nothing, which nothing before"),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), {"frames": 10}, "does not fit its inputs"),
        (helper.make_node("NonZero", ["x"], ["y"]), {"frames": 10}, "depends on more than the sizes"),
    ],
)
def test_what_cannot_be_counted_is_an_error(node: onnx.NodeProto, axes: dict[str, int], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        work_of(model_of([node], {"x": ["frames", 3]}, {"w": zeros(3, 5)}), axes)


def test_a_graph_of_another_size_than_asked_for_is_an_error() -> None:
    fixed = model_of([helper.make_node("Log", ["x"], ["y"])], {"x": [1, 7, 150]}, {})
    signature = PUBLISHED_48K.spec().graphs["quantizer"]
    assert work_of(fixed, {"batch": 1, "latents": 150}, signature=signature).pointwise == 7 * 150
    with pytest.raises(BenchmarkError, match="latents is fixed there, but 151 was asked for"):
        work_of(fixed, {"batch": 1, "latents": 151}, signature=signature)
    with pytest.raises(BenchmarkError, match="the graph has 1 inputs; encoder takes logamp, phase"):
        work_of(fixed, {"batch": 1, "frames": 150}, signature=PUBLISHED_48K.spec().graphs["encoder"])


@pytest.mark.parametrize("frames", [FRAMES, FRAMES + 1])
def test_the_closed_form_is_what_pytorch_counts(frames: int) -> None:
    assert published_products(SMALL, frames) == published_flops(SMALL, frames)
    scaled = replace(SMALL, block="layer_scale", projections=False, codebook_dim=SMALL.latent_dim)
    assert published_products(scaled, frames) == published_flops(scaled, frames)


def test_a_second_of_the_published_model_is_35_billion_operations() -> None:
    counted = published_flops(PUBLISHED_48K, 1200)
    assert published_products(PUBLISHED_48K, 1200) == counted
    assert sum(counted.values()) == pytest.approx(35.0e9, rel=0.01)


def test_exported_products_are_what_pytorch_counts_of_the_deployed_network(
    unpublished_grn: Checkpoint, unpublished_bundle: Path
) -> None:
    network, made = unpublished_grn.network, graphs(unpublished_grn)
    latents = FRAMES // network.ratio
    spectrum = torch.zeros(1, network.bins, FRAMES)
    axes = {"batch": 1, "frames": FRAMES, "latents": latents}
    inputs = {"encoder": (spectrum, spectrum), "decoder": (torch.zeros(1, network.latent_dim, latents),)}
    for name, tensors in inputs.items():
        work = work_of(onnx.load(unpublished_bundle / f"{name}.onnx"), axes, signature=network.spec().graphs[name])
        assert work.products == flops(made[name].module, *tensors)
        layers = {path for path, layer in made[name].module.named_modules() if isinstance(layer, Product)}
        assert layers <= set(work.by_layer)
        # Besides them, each global response normalisation sums over frames by a product that has no weights.
        sums = sum(isinstance(layer, GlobalResponse) for layer in made[name].module.modules())
        assert len(work.by_layer) == len(layers) + sums


@pytest.fixture(scope="module")
def demo() -> Bundle:
    return Bundle.embedded()


@pytest.mark.parametrize("name", GRAPHS)
def test_every_tensor_has_the_shape_and_type_that_a_run_gives_it(demo: Bundle, name: str) -> None:
    axes = {"batch": 2, "samples": 6400, "frames": 160, "latents": 20}
    if name == "stft":
        axes = {"batch": 2, "samples": 6439}
    model = onnx.load_from_string(demo.graph(name))
    tensors = tensors_of(model, axes, demo.spec.graphs[name])
    made = [output for node in model.graph.node for output in node.output if output]
    model.graph.ClearField("output")
    model.graph.output.extend(helper.make_empty_tensor_value_info(output) for output in made)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    feed = {value.name: np.zeros(tensors[value.name].shape, tensors[value.name].dtype) for value in model.graph.input}
    found = dict(zip(made, session.run(made, feed), strict=True))
    assert {key: (tensors[key].shape, tensors[key].dtype) for key in made} == {
        key: (value.shape, value.dtype) for key, value in found.items()
    }


def test_work_is_linear_in_length(demo: Bundle) -> None:
    # What does not depend on length (weights, arithmetic with shapes) cancels in the differences.
    step = 150 * demo.spec.samples_per_latent
    one, two, three = (bundle_work(demo, count * step - 1) for count in (1, 2, 3))
    assert list(one) == list(GRAPHS)
    for name in GRAPHS:
        first, second, third = (asdict(work[name]) for work in (one, two, three))
        for key in ("pointwise", "written_bytes", "products"):
            assert third[key] - second[key] == second[key] - first[key] >= (0 if key == "products" else 1), (name, key)
        # What a decoder does for a clip's ends does not depend on its length.
        assert second["products"] == pytest.approx(2 * first["products"], rel=0.02)
    # Two inputs of 513 bins and 1200 frames; 32 channels of 150 latents come out.
    assert two["encoder"].least_bytes - one["encoder"].least_bytes == 4 * (2 * 513 * 1200 + 32 * 150)


def test_a_clip_too_short_for_the_transform_counts_as_the_shortest(demo: Bundle) -> None:
    assert bundle_work(demo, 1) == bundle_work(demo, demo.spec.min_samples)


def test_half_precision_halves_the_bytes_of_the_weights_that_it_has(demo: Bundle) -> None:
    full, half = (bundle_work(demo, 47999, precision) for precision in ("float32", "float16"))
    for name in GRAPHS:
        assert half[name].products == full[name].products
        weights = onnx.load_from_string(demo.graph(name, "float16")).graph.initializer
        halved = sum(numpy_helper.to_array(each).nbytes for each in weights if each.data_type == TensorProto.FLOAT16)
        assert (halved > 0) == (name in ("encoder", "decoder"))
        # A constant or two of the graph may be there in both types, or in neither.
        assert full[name].least_bytes - half[name].least_bytes == pytest.approx(halved, abs=64)


def test_bytes_follow_the_element_type() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    axes = {"frames": 10}
    full = work_of(model_of(nodes, {"x": ["frames", 3]}, {"w": zeros(3, 5)}), axes)
    short = model_of(nodes, {"x": ["frames", 3]}, {"w": zeros(3, 5, dtype=np.float16)}, dtype=TensorProto.FLOAT16)
    half = work_of(short, axes)
    assert (half.products, half.least_bytes) == (full.products, full.least_bytes / 2)
    assert half.written_bytes == full.written_bytes / 2
