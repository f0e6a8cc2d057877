"""Weights of fewer bits: the nearest numbers of so many bits, in the products of a graph and nowhere else."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apcodec_deploy.errors import ExportError
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.rounding import round_weights, rounded

NUMBERS = st.floats(2.0**-14, 2.0**15, width=32) | st.floats(-(2.0**15), -(2.0**-14), width=32) | st.just(0.0)


@given(arrays(np.float32, 8, elements=NUMBERS))
def test_eleven_bits_are_those_of_half_precision(values: np.ndarray) -> None:
    np.testing.assert_array_equal(rounded(values, 11), values.astype(np.float16).astype(np.float32))


@given(arrays(np.float32, 8, elements=NUMBERS), st.integers(8, 23))
def test_an_error_is_at_most_half_a_step_and_what_is_rounded_stays(values: np.ndarray, bits: int) -> None:
    found = rounded(values, bits)
    assert (np.abs(found - values) <= np.abs(values) * 2.0**-bits).all()
    np.testing.assert_array_equal(rounded(found, bits), found)
    np.testing.assert_array_equal(found.view(np.uint32) & ((1 << (24 - bits)) - 1), 0)


@pytest.mark.parametrize("bits", [9, 11])
def test_products_alone_are_rounded_and_pack_to_little_more_than_half(bits: int) -> None:
    rng = np.random.default_rng(0)
    held = {
        "amplitude.embed.weight": rng.normal(size=(64, 32, 7)).astype(np.float32),
        "amplitude.embed.bias": rng.normal(size=64).astype(np.float32),
        "amplitude.norm.weight": rng.normal(size=64).astype(np.float32),
        "tables.0": rng.normal(size=(32, 32)).astype(np.float32),
        "phase.out.weight": rng.normal(size=(16, 16)).astype(np.float16),
    }
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in held.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "weights", [], [], tensors))
    round_weights(model, bits)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = "amplitude.embed.weight", "phase.out.weight"
    for product in products:
        assert found[product].dtype == held[product].dtype
        np.testing.assert_array_equal(found[product], rounded(held[product].astype(np.float32), bits))
    product = products[0]
    assert len(zlib.compress(found[product])) < 0.7 * len(zlib.compress(held[product]))
    for name in held.keys() - set(products):
        np.testing.assert_array_equal(found[name], held[name])


@pytest.mark.parametrize("bits", [7, 25])
def test_other_numbers_of_bits_are_refused(checkpoint: Checkpoint, tmp_path: Path, bits: int) -> None:
    with pytest.raises(ExportError, match=f"8 to 24 significant bits, not {bits}"):
        export_bundle(checkpoint, tmp_path / "bundle", weight_bits=bits)
    assert not any(tmp_path.iterdir())
