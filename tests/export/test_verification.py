"""Verification: a graph that is not its model is found, and named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from apcodec_deploy.errors import ExportError
from apcodec_export import verification
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.verification import LIMITS, Check, verify

NAMES = ("stft", "encoder", "quantizer", "dequantizer", "decoder", "istft")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lengths are enough to find what is wrong here."""
    monkeypatch.setattr(verification, "_lengths", lambda spec: (1, 13))


@pytest.fixture
def checkpoint(unpublished_grn: Checkpoint) -> Checkpoint:
    """A small one, in which every weight has an effect."""
    return unpublished_grn


@pytest.fixture
def models(unpublished_bundle: Path) -> dict[str, bytes]:
    return {name: (unpublished_bundle / f"{name}.onnx").read_bytes() for name in NAMES}


def changed(data: bytes, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(data)
    change(model)
    return model.SerializeToString()


def one_weight(model: onnx.ModelProto) -> None:
    """Add one to a single weight of the largest tensor: to its centre, which even one frame meets."""
    tensor = max(model.graph.initializer, key=lambda found: len(found.raw_data))
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights[tuple(size // 2 for size in weights.shape)] += 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))


def all_weights(model: onnx.ModelProto) -> None:
    """Make every weight a hundredth larger."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weights = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))


def test_the_exported_graphs_pass(checkpoint: Checkpoint, models: dict[str, bytes]) -> None:
    report = verify(checkpoint, models)
    assert report["checks"].keys() == LIMITS.keys()
    assert all(check["cases"] == 6 and 0 <= check["worst"] <= check["limit"] for check in report["checks"].values())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("stft", one_weight),
        ("encoder", one_weight),
        ("dequantizer", all_weights),  # a single code's row may not be among those that are looked up
        ("decoder", one_weight),
        ("istft", one_weight),
    ],
)
def test_a_graph_with_other_weights_is_named(
    checkpoint: Checkpoint, models: dict[str, bytes], name: str, change: Callable[[onnx.ModelProto], None]
) -> None:
    with pytest.raises(ExportError) as caught:
        verify(checkpoint, {**models, name: changed(models[name], change)})
    blamed = re.findall(r"(\w+) \(limit", str(caught.value))
    # Each graph is fed by PyTorch, so no other one is blamed; the round trip goes through the last three.
    assert blamed == [name, *(["round_trip"] if name in NAMES[3:] else [])]


def test_a_search_through_reversed_codebooks_is_found(checkpoint: Checkpoint, models: dict[str, bytes]) -> None:
    def flip(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type == "ArgMax":
                node.op_type = "ArgMin"

    with pytest.raises(ExportError, match=r"quantizer \(limit 0\.005\)"):
        verify(checkpoint, {**models, "quantizer": changed(models["quantizer"], flip)})


def test_every_case_that_differs_is_named(checkpoint: Checkpoint, models: dict[str, bytes]) -> None:
    with pytest.raises(ExportError) as caught:
        verify(checkpoint, {**models, "encoder": changed(models["encoder"], one_weight)})
    blame = str(caught.value).partition(": encoder (limit ")[2]
    assert "speech, 1 frames" in blame
    assert "speech +24 dB + constant + music, 13 frames" in blame


def test_another_models_graph_is_found(checkpoint: Checkpoint, models: dict[str, bytes], grn_bundle: Path) -> None:
    with pytest.raises(ExportError, match="quantizer"):
        verify(checkpoint, {**models, "quantizer": (grn_bundle / "quantizer.onnx").read_bytes()})


def _rename(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["audio2" if name == "audio" else name for name in node.output]
    model.graph.output[0].name = "audio2"


def _fix_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize("change", [_rename, _fix_the_batch])
def test_other_names_and_axes_than_promised_are_found(
    checkpoint: Checkpoint, models: dict[str, bytes], change: Callable[[onnx.ModelProto], None]
) -> None:
    with pytest.raises(ExportError, match=r"istft has (in|out)puts"):
        verify(checkpoint, {**models, "istft": changed(models["istft"], change)})


def test_a_graph_that_cannot_be_loaded_is_named(checkpoint: Checkpoint, models: dict[str, bytes]) -> None:
    with pytest.raises(ExportError, match="decoder"):
        verify(checkpoint, {**models, "decoder": b"no graph"})


def test_a_check_keeps_the_worst_case() -> None:
    check = Check(0.5)
    for case, error in (("first", 0.1), ("second", 0.3), ("third", 0.2)):
        check.add(case, error)
    assert (check.cases, check.worst, check.worst_case, check.failures) == (3, 0.3, "second", [])


@pytest.mark.parametrize("error", [0.51, math.inf, math.nan])
def test_a_check_fails_above_its_limit_and_for_what_is_no_number(error: float) -> None:
    check = Check(0.5)
    check.add("good", 0.1)
    check.add("bad", error)
    check.add("good again", 0.2)
    assert [failure.split(":")[0] for failure in check.failures] == ["bad"]
