"""A graph that is rewritten with channels first computes what it computed, and its products are convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy.backends.layout import channels_first
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.ov import import_openvino, open_core

LATENTS = 13


@pytest.fixture(scope="module")
def openvino() -> Any:
    return import_openvino()


def inputs(bundle: Bundle, part: str, *, batch: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    sizes = {"batch": batch, "frames": LATENTS * bundle.spec.ratio, "latents": LATENTS}
    return {
        value.name: rng.normal(size=value.shape(sizes)).astype(np.float32) for value in bundle.spec.graphs[part].inputs
    }


def results(core: Any, model: Any, feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled(feed).values()]


def count(model: Any, *kinds: str) -> int:
    return sum(node.get_type_name() in kinds for node in model.get_ops())


@pytest.mark.processor
@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("fixed", [False, True])
def test_float32_stays_what_it_is(openvino: Any, bundle: Path, part: str, fixed: bool) -> None:
    exported = Bundle.open(bundle)
    core, data = open_core(), exported.graph(part)
    plain, changed = core.read_model(data), core.read_model(data)
    assert channels_first(openvino, changed) > 2
    feed = inputs(exported, part, batch=1 if fixed else 2)
    if fixed:
        changed.reshape({name: list(value.shape) for name, value in feed.items()})
    for found, expected in zip(results(core, changed, feed), results(core, plain, feed), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.processor
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_integers_stay_what_they_are(openvino: Any, part: str) -> None:
    bundle = Bundle.embedded()
    core, data = open_core(), bundle.graph(part, "int8")
    plain, changed = core.read_model(data), core.read_model(data)
    made = channels_first(openvino, changed)
    layers = bundle.manifest["variants"]["int8"]["plan"]["layers"]
    assert made >= sum(
        kind == "int8" and path.startswith(part) and path.endswith(("expand", "contract"))
        for path, kind in layers.items()
    )
    feed = inputs(bundle, part, batch=1)
    for found, expected in zip(results(core, changed, feed), results(core, plain, feed), strict=True):
        # The integers are equal; where they are scaled may round another way, which moves a few by one step.
        assert np.square(found - expected).mean() < 1e-4 * np.square(expected).mean()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_one_transpose_a_side_is_left_for_each_normalisation(openvino: Any, precision: str) -> None:
    """Of the products none is left; LayerNorm alone still has the channels last, between two transposes."""
    for part in ("encoder", "decoder"):
        model = open_core().read_model(Bundle.embedded().graph(part, precision))
        norms, ends = count(model, "MVN"), 12
        assert channels_first(openvino, model)
        assert count(model, "Transpose") <= 2 * norms + ends
        products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
        # The two ends of a decoder's front multiply a row for each clip, no stream.
        assert not any(node.input_value(0).get_partial_shape().rank.get_length() == 3 for node in products)


def test_a_graph_without_a_network_is_left_alone(openvino: Any) -> None:
    model = open_core().read_model(Bundle.embedded().graph("istft"))
    before = count(model, "MatMul", "Transpose", "Convolution")
    assert channels_first(openvino, model) == 0
    assert count(model, "MatMul", "Transpose", "Convolution") == before
