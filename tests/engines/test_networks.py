"""What the builder is given: the graphs, joined or not, called by their layers, and nothing it would refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BuildError, BundleError
from apcodec_engines.networks import FORBIDDEN, networks

PRECISIONS = ["float32", "float16"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("parts", [False, True], ids=["joined", "parts"])
def test_no_operator_reaches_the_parser_that_it_would_refuse(demo: Bundle, precision: str, parts: bool) -> None:
    for network in networks(demo, precision, parts=parts):
        model = onnx.load_model_from_string(network.model)
        assert not {node.op_type for node in model.graph.node} & {*FORBIDDEN}
        types = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        assert types <= {TensorProto.FLOAT, TensorProto.INT32}
        onnx.checker.check_model(model, full_check=True)


def test_joined_networks_have_the_ends_of_a_direction(demo: Bundle) -> None:
    encode, decode = networks(demo, "float32", parts=False)
    assert [(binding.name, binding.dims) for binding in encode.bindings] == [
        ("audio", ("batch", "samples")),
        ("codes", ("batch", 4, "latents")),
    ]
    assert [(binding.name, binding.output, binding.dtype) for binding in decode.bindings] == [
        ("codes", False, "int32"),
        ("audio", True, "float32"),
    ]


def test_parts_are_the_six_graphs_in_order(demo: Bundle) -> None:
    found = networks(demo, "float32", parts=True)
    assert [network.name for network in found] == ["stft", "encoder", "quantizer", "dequantizer", "decoder", "istft"]
    assert [network.direction for network in found] == ["encode"] * 3 + ["decode"] * 3
    assert [binding.dims[1] for binding in found[1].bindings] == [513, 513, 32]


def test_joined_networks_compute_what_the_graphs_compute(demo: Bundle, speech: NDArray[np.float32]) -> None:
    encode, decode = (
        onnxruntime.InferenceSession(network.model, providers=["CPUExecutionProvider"])
        for network in networks(demo, "float32", parts=False)
    )
    reference = OnnxRuntimeBackend(demo)
    for audio in (speech[None, 30_000:41_111], np.zeros((2, 161), np.float32)):
        codes = reference.encode(audio)
        assert (encode.run(None, {"audio": audio})[0] == codes).mean() > 0.99
        np.testing.assert_allclose(decode.run(None, {"codes": codes})[0], reference.decode(codes), rtol=0, atol=1e-5)


def test_every_layer_of_the_plan_is_a_product_of_its_type(demo: Bundle) -> None:
    layers = demo.variant("float16")["plan"]["layers"]
    encode, decode = networks(demo, "float16", parts=False)
    found = {**encode.products, **decode.products}
    planned = {path: dtype for path, dtype in layers.items() if not path.endswith(".stream")}
    assert planned.items() <= found.items()
    assert set(planned.values()) == {"float16"}
    # What no plan names are the transforms, the code search and GRN's sums over frames, in float32.
    rest = found.keys() - planned.keys()
    assert {name.split(".")[0] for name in rest} == {"stft", "encoder", "quantizer", "decoder", "istft"}
    assert all("node_matmul" in name for name in rest if name.startswith(("encoder", "decoder")))
    assert {found[name] for name in rest} == {"float32"}
    assert {*networks(demo, "float32", parts=False)[0].products.values()} == {"float32"}


def test_a_precision_that_the_bundle_lacks_is_refused(demo: Bundle) -> None:
    with pytest.raises(BundleError, match="has no bfloat16 graphs, only float32, float16, int8"):
        networks(demo, "bfloat16", parts=False)


class Altered:
    """The embedded bundle with one of its graphs changed."""

    def __init__(self, name: str, change: Callable[[onnx.ModelProto], None]) -> None:
        self._name, self._change, self._demo = name, change, Bundle.embedded()
        self.spec, self.variant = self._demo.spec, self._demo.variant

    def graph(self, name: str, precision: str) -> bytes:
        model = onnx.load_model_from_string(self._demo.graph(name, precision))
        if name == self._name:
            self._change(model)
        data: bytes = model.SerializeToString()
        return data


def _add_transposed_convolution(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ConvTranspose", ["latent", "latent"], ["unused"]))


def _give_int64(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64


def _rename(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = f"{node.name}_of_old"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_add_transposed_convolution, "encode holds ConvTranspose; export the checkpoint again"),
        (_give_int64, "encode gives codes as int64; export the checkpoint again"),
    ],
)
def test_graphs_of_another_kind_are_refused(change: Any, words: str) -> None:
    with pytest.raises(BuildError, match=words):
        networks(Altered("quantizer", change), "float32", parts=False)  # type: ignore[arg-type]


def test_a_plan_of_other_layers_is_refused() -> None:
    with pytest.raises(BuildError, match=r"the plan names .*encoder\.amplitude\.embed.*, which the graphs lack"):
        networks(Altered("encoder", _rename), "float16", parts=False)  # type: ignore[arg-type]


def test_a_damaged_graph_is_refused_by_checksum(demo: Bundle, tmp_path: Path) -> None:
    (tmp_path / "stft.onnx").write_bytes(b"other")
    moved = Bundle(path=tmp_path, name=demo.name, fingerprint=demo.fingerprint, spec=demo.spec, manifest=demo.manifest)
    with pytest.raises(BundleError, match="is not the file that was exported"):
        networks(moved, "float32", parts=False)
