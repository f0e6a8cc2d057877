"""What is handed to the builder: the graphs of a bundle, one by one or joined to one per direction.

Joined is the default: log-amplitude, phase and spectrum, 500 times the size of the codes, then never leave the engine,
and one call does what else takes three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import compose

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.manifest import Binding, bindings_of
from apcodec_deploy.errors import BuildError
from apcodec_deploy.precision import FLOAT32

PRODUCTS = ("Conv", "MatMul")
"""The operators whose precision a plan settles, and which take nearly all of the time."""
FORBIDDEN = ("ConvTranspose", "If", "Loop", "Scan", "Atan2")
"""Operators that no graph of ours holds, since builders refuse them or run them badly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A graph for the builder.

    Attributes:
        name: ``encode`` or ``decode``; or one graph's.
        direction: ``encode`` or ``decode``.
        precision: Of the encoder or decoder in it.
        model: Serialized ONNX.
        bindings: Its inputs, then its outputs.
        products: The type that the plan gives each convolution and product, by the name of its node.
    """

    name: str
    direction: str
    precision: str
    model: bytes
    bindings: tuple[Binding, ...]
    products: Mapping[str, str]


def networks(bundle: Bundle, precision: str, *, parts: bool) -> list[Network]:
    """The networks that a bundle's engines are built from.

    Args:
        bundle: The model.
        precision: Of the encoder and the decoder; transforms and code search are float32 always.
        parts: Whether each graph becomes an engine of its own.

    Raises:
        BundleError: A graph is missing or damaged, or the bundle lacks the precision.
        BuildError: A graph is not what this version of the exporter makes.
    """
    found = []
    for direction, graphs in bundle.spec.chains.items():
        for name, members in [(graph, (graph,)) for graph in graphs] if parts else [(direction, graphs)]:
            found.append(network(bundle, precision, name=name, direction=direction, graphs=members))
    return found


def network(bundle: Bundle, precision: str, *, name: str, direction: str, graphs: tuple[str, ...]) -> Network:
    """One network of one or more graphs that follow each other. See ``networks``."""
    model = _named(bundle, graphs[0], precision)
    for graph in graphs[1:]:
        links = [(value.name, value.name) for value in model.graph.output]
        model = compose.merge_models(model, _named(bundle, graph, precision), io_map=links)
    model.graph.name = f"apcodec_{name}"
    _check(name, model)
    return Network(
        name=name,
        direction=direction,
        precision=precision,
        model=model.SerializeToString(deterministic=True),
        bindings=bindings_of(bundle.spec.graphs[graphs[0]], bundle.spec.graphs[graphs[-1]]),
        products=_products(bundle, precision, graphs, model),
    )


def _named(bundle: Bundle, graph: str, precision: str) -> onnx.ModelProto:
    """A graph whose nodes and weights are called after it, as the layers of a precision plan are."""
    model = onnx.load_model_from_string(bundle.graph(graph, precision))
    model.ClearField("metadata_props")
    named: onnx.ModelProto = compose.add_prefix(model, f"{graph}.", rename_inputs=False, rename_outputs=False)
    return named


def _check(name: str, model: onnx.ModelProto) -> None:
    if bad := sorted({node.op_type for node in model.graph.node} & {*FORBIDDEN}):
        raise BuildError(f"{name} holds {', '.join(bad)}; export the checkpoint again with this version")
    for value in model.graph.output:
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            raise BuildError(f"{name} gives {value.name} as int64; export the checkpoint again with this version")


def _products(bundle: Bundle, precision: str, graphs: tuple[str, ...], model: onnx.ModelProto) -> dict[str, str]:
    """The type of each product: what the plan says, float32 for what no plan names."""
    layers = {} if precision == FLOAT32 else bundle.variant(precision)["plan"]["layers"]
    found = {node.name: layers.get(node.name, FLOAT32) for node in model.graph.node if node.op_type in PRODUCTS}
    planned = {path for path in layers if path.split(".")[0] in graphs and not path.endswith(".stream")}
    if lacking := sorted(planned - found.keys()):
        raise BuildError(f"the plan names {', '.join(lacking)}, which the graphs lack; export the checkpoint again")
    return found
