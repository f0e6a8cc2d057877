"""8-bit products written as convolutions give what the products give, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy.backends import convolutions
from apcodec_deploy.backends.convolutions import as_convolutions
from apcodec_deploy.bundle import GRAPHS, Bundle
from apcodec_deploy.ov import import_openvino
from apcodec_deploy.processor import Processor

FRAMES = 8 * 13


@pytest.fixture(scope="module")
def openvino() -> Any:
    return import_openvino()


def inputs(part: str) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    shapes = {"encoder": (1, 513, FRAMES), "decoder": (1, 32, FRAMES // 8)}
    return {value.name: rng.normal(size=shapes[part]).astype(np.float32) for value in GRAPHS[part].inputs}


def results(core: Any, model: Any, part: str) -> list[NDArray[np.float32]]:
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled(inputs(part)).values()]


def kinds(model: Any) -> list[str]:
    return [node.get_type_name() for node in model.get_ops()]


@pytest.mark.processor
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_they_compute_the_same(openvino: Any, part: str) -> None:
    core, data = openvino.Core(), Bundle.embedded().graph(part, "int8")
    plain, changed = core.read_model(data), core.read_model(data)
    count = as_convolutions(openvino, changed)
    layers = Bundle.embedded().manifest["variants"]["int8"]["plan"]["layers"]
    planned = [path for path, kind in layers.items() if path.startswith(part) and kind == "int8"]
    assert 10 < count <= len(planned)
    assert kinds(plain).count("MatMul") - kinds(changed).count("MatMul") == count
    for found, expected in zip(results(core, changed, part), results(core, plain, part), strict=True):
        # The integers are equal; where they are scaled may round another way, which moves a few by one step.
        assert np.square(found - expected).mean() < 1e-4 * np.square(expected).mean()


def test_float32_products_stay(openvino: Any) -> None:
    model = openvino.Core().read_model(Bundle.embedded().graph("encoder"))
    before = kinds(model)
    assert as_convolutions(openvino, model) == 0
    assert kinds(model) == before


@pytest.mark.parametrize(
    ("flags", "limit", "wanted"),
    [
        ({"avx2"}, "", True),
        ({"avx2", "avx512f"}, "", False),
        ({"avx2", "avx512f", "avx512_vnni"}, "AVX2", True),
        ({"avx2", "avx512f", "avx512_vnni"}, "AVX512_CORE", False),
        ({"avx2", "avx_vnni"}, "", False),
        ({"avx2", "avx_vnni"}, "AVX2", True),
        ({"asimd"}, "", False),
        (set(), "", False),
    ],
)
def test_they_are_wanted_where_there_is_avx2_only(flags: set[str], limit: str, wanted: bool) -> None:
    assert convolutions.wanted(Processor("a CPU", frozenset(flags), limit)) is wanted
