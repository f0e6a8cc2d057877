"""Products of 8-bit numbers are right on every processor, with and without the instructions made for them.

Processors without VNNI add pairs of products in 16 bits, which overflow without a word. These tests run once with what
the processor has, and once as on one that has AVX2 only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy import Codec, load
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.ort import onnxruntime
from apcodec_deploy.ov import open_core
from apcodec_export.quantization import quantized

pytestmark = pytest.mark.processor


def by_onnxruntime(model: onnx.ModelProto, x: NDArray[np.float32]) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def by_openvino(model: onnx.ModelProto, x: NDArray[np.float32]) -> Any:
    core = open_core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled({"x": x})[0]


@pytest.mark.parametrize("run", [by_onnxruntime, by_openvino])
@pytest.mark.parametrize("channels", [16, 64, 256, 500])
def test_the_largest_products_do_not_overflow(run: Any, channels: int) -> None:
    """Every weight and every input at the end of its range, where the sum of two products is largest."""
    sign = np.where(np.arange(24) % 2, 1, -1).astype(np.float32)
    weight = np.tile(sign, (channels, 1))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", channels])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 24])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    x = np.ones((32, channels), np.float32)
    x[1::2] = np.linspace(0, 1, channels)
    made = quantized(model, ["product"], [{"x": x}])
    np.testing.assert_allclose(run(made, x), x @ weight, rtol=0, atol=0.01 * channels)


def test_no_weight_of_the_embedded_model_uses_the_eighth_bit() -> None:
    bundle = Bundle.embedded()
    for part in ("encoder", "decoder"):
        graph = onnx.load_from_string(bundle.graph(part, "int8")).graph
        held = [
            onnx.numpy_helper.to_array(each) for each in graph.initializer if each.data_type == onnx.TensorProto.INT8
        ]
        matrices = [each for each in held if each.ndim > 1]
        assert len(matrices) > 10
        assert max(np.abs(each.astype(int)).max() for each in matrices) == 64


class Clip(NamedTuple):
    """Two seconds of an example, and what float32 makes of them."""

    audio: NDArray[np.float32]
    rate: int
    codes: NDArray[np.int16]
    decoded: NDArray[np.float32]


@pytest.fixture(
    scope="module",
    params=[
        "music_44k.ogg",
        "speech_german_22k.wav",
        pytest.param("speech_female_48k.wav", marks=pytest.mark.slow),
        pytest.param("speech_male_44k.flac", marks=pytest.mark.slow),
    ],
)
def clip(codec: Codec, examples: Path, request: pytest.FixtureRequest) -> Clip:
    audio, rate = soundfile.read(examples / request.param, dtype="float32", always_2d=True)
    audio = audio[rate // 2 : 5 * rate // 2, 0]
    encoded = codec.encode(audio, rate)
    return Clip(audio, rate, encoded.codes, codec.decode(encoded))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_real_clips_keep_their_codes_and_their_sound(clip: Clip, backend: str) -> None:
    from apcodec_benchmarks.metrics.spectral import lsd

    with load(backend=backend, precision="int8") as reduced:
        found = reduced.encode(clip.audio, clip.rate)
        heard = reduced.decode(found)
    assert (found.codes == clip.codes).mean() >= 0.75
    assert lsd(clip.audio, heard, clip.rate) - lsd(clip.audio, clip.decoded, clip.rate) <= 0.01


def test_a_bundle_whose_products_saturate_is_refused(tmp_path: Path) -> None:
    """Weights at twice the size, cut off: what the products of older exports look like on older processors."""
    bundle = tmp_path / "bundle"
    shutil.copytree(Bundle.embedded().path, bundle)
    model = onnx.load_from_string(Bundle.embedded().graph("encoder", "int8"))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
            doubled = np.clip(2 * onnx.numpy_helper.to_array(tensor).astype(int), -100, 100)  # as saturation does
            tensor.CopyFrom(onnx.numpy_helper.from_array(doubled.astype(np.int8), tensor.name))
    replace_graph(bundle, "encoder.int8.onnx", model.SerializeToString())
    for backend in ("onnxruntime", "openvino"):
        with pytest.raises(ApcodecError, match="int8 is not right with"):
            load(bundle, backend, precision="int8")


def replace_graph(bundle: Path, file: str, data: bytes) -> None:
    """Put another graph into a bundle, which then vouches for it."""
    (bundle / file).write_bytes(data)
    manifest = json.loads((bundle / "model.json").read_text())
    described = manifest["variants"]["int8"]["graphs"][file.partition(".")[0]]
    described.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (bundle / "model.json").write_text(json.dumps(manifest))
