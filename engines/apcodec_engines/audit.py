"""What a parsed network really is, counted before it is built.

A builder that is asked for half precision and given a float32 network builds a float32 engine without a word. Networks
here are strongly typed, so what the parser read is what the engine computes in, and can be counted without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apcodec_deploy.errors import BuildError

TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
_PRODUCTS = {"CONVOLUTION", "MATRIX_MULTIPLY"}


def layer_types(network: Any) -> dict[str, dict[str, int]]:
    """How many outputs of each kind of layer have which type; constants and shape arithmetic left out."""
    found: dict[str, dict[str, int]] = {}
    for layer in _layers(network):
        kind = layer.type.name
        if kind == "CONSTANT":
            continue
        for index in range(layer.num_outputs):
            dtype = TYPES.get(layer.get_output(index).dtype.name)
            if dtype:
                counts = found.setdefault(kind, {})
                counts[dtype] = counts.get(dtype, 0) + 1
    return {kind: found[kind] for kind in sorted(found)}


def check_products(network: Any, products: Mapping[str, str]) -> None:
    """Hold the type of every convolution and product against the plan.

    Args:
        network: A parsed network.
        products: The expected type of each, by the name of its layer.

    Raises:
        BuildError: One has another type or is missing, or there is one that nothing is known of.
    """
    held = {layer.name: layer.get_output(0).dtype.name for layer in _layers(network) if layer.type.name in _PRODUCTS}
    found = {name: TYPES.get(dtype, dtype) for name, dtype in held.items()}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, {products.get(name, 'nothing')} is expected"
        for name in sorted(found.keys() | products.keys())
        if found.get(name) != products.get(name)
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise BuildError(f"the parsed network is not the planned one: {'; '.join(wrong[:5])}{more}")


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(index) for index in range(network.num_layers)]
