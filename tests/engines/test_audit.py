"""The audit: an engine that is called half precision cannot be float32 inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from apcodec_deploy.errors import BuildError
from apcodec_engines.audit import check_products, layer_types


def layer(name: str, kind: str, *types: str) -> Any:
    outputs = [SimpleNamespace(dtype=SimpleNamespace(name=dtype)) for dtype in types]
    return SimpleNamespace(
        name=name, type=SimpleNamespace(name=kind), num_outputs=len(outputs), get_output=lambda index: outputs[index]
    )


@dataclass
class Network:
    layers: list[Any] = field(default_factory=list)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


NETWORK = Network(
    [
        layer("weight", "CONSTANT", "HALF"),
        layer("shape", "SHAPE", "INT64"),
        layer("a.conv", "CONVOLUTION", "HALF"),
        layer("b.conv", "CONVOLUTION", "FLOAT"),
        layer("search", "TOPK", "FLOAT", "INT32"),
        layer("a.linear", "MATRIX_MULTIPLY", "HALF"),
    ]
)
PLAN = {"a.conv": "float16", "b.conv": "float32", "a.linear": "float16"}


def test_outputs_are_counted_by_kind_and_type() -> None:
    assert layer_types(NETWORK) == {
        "CONVOLUTION": {"float16": 1, "float32": 1},
        "MATRIX_MULTIPLY": {"float16": 1},
        "TOPK": {"float32": 1},
    }


def test_a_network_as_planned_passes() -> None:
    check_products(NETWORK, PLAN)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (PLAN | {"b.conv": "float16"}, "b.conv is float32, float16 is expected"),
        (PLAN | {"a.linear": "float32"}, "a.linear is float16, float32 is expected"),
        (PLAN | {"c.conv": "float16"}, "c.conv is missing, float16 is expected"),
        ({"a.conv": "float16", "b.conv": "float32"}, "a.linear is float16, nothing is expected"),
    ],
)
def test_a_network_other_than_planned_is_refused(plan: dict[str, str], words: str) -> None:
    with pytest.raises(BuildError, match=words):
        check_products(NETWORK, plan)


def test_of_many_differences_a_few_are_named() -> None:
    with pytest.raises(BuildError, match="and 15 more"):
        check_products(Network(), {f"layer{index}": "float16" for index in range(20)})
