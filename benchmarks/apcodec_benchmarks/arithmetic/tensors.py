"""The tensors of an ONNX graph at one size: shape, type, and value where it hardly depends on anything.

ONNX's own inference over a whole graph loses a shape that passes ``Shape -> Gather -> Div -> Concat -> Reshape``, as
the exporter writes it. So inference goes node by node, and small tensors that are known are computed on the way by
ONNX's reference implementation. Once the inputs' axes are fixed, nothing in our graphs stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import BenchmarkError

if TYPE_CHECKING:
    import onnx

    from apcodec_deploy.signatures import GraphSignature

KNOWN_ELEMENTS = 1024
"""Tensors up to this size are computed where all that they depend on is known: shapes, axes, pads, indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensor:
    """One tensor of a graph.

    Attributes:
        shape: Every axis.
        dtype: Its numpy element type.
        value: What it holds, where that is small and the same in every run of this size.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: NDArray[Any] | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.itemsize


def tensors_of(
    model: onnx.ModelProto, axes: Mapping[str, int], signature: GraphSignature | None = None
) -> dict[str, GraphTensor]:
    """Find every tensor of a graph: inputs, weights, what each node gives.

    Args:
        model: The graph; every operator must be ONNX's own, without subgraphs.
        axes: The size of each dynamic axis by its name.
        signature: Names the axes of the graph's inputs, in their order; the graph's own names count where None.

    Raises:
        BenchmarkError: A dynamic axis has no size, a fixed one has another, the graph is broken, or a shape
            depends on more than the sizes of the inputs.
    """
    import onnx

    tensors = dict(_inputs(model.graph, axes, signature))
    for initializer in model.graph.initializer:
        known = math.prod(initializer.dims) <= KNOWN_ELEMENTS
        tensors[initializer.name] = GraphTensor(
            shape=tuple(initializer.dims),
            dtype=_dtype(initializer.data_type),
            value=onnx.numpy_helper.to_array(initializer) if known else None,
        )
    for node in model.graph.node:
        if missing := [name for name in node.input if name and name not in tensors]:
            raise BenchmarkError(
                f"{described(node)} reads {', '.join(missing)}, which nothing before it gives; "
                "a plain graph in topological order is expected"
            )
        tensors |= _outputs(node, tensors, model.opset_import)
    return tensors


def described(node: onnx.NodeProto) -> str:
    """A node as messages call it."""
    return f"{node.op_type} {node.name or next(iter(node.output), '')!r}"


def _inputs(
    graph: onnx.GraphProto, axes: Mapping[str, int], signature: GraphSignature | None
) -> Iterator[tuple[str, GraphTensor]]:
    """The graph's inputs at this size, by name."""
    weights = {initializer.name for initializer in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if signature is not None and len(inputs) != len(signature.inputs):
        expected = ", ".join(value.name for value in signature.inputs)
        raise BenchmarkError(f"the graph has {len(inputs)} inputs; {signature.name} takes {expected}")
    for place, value in enumerate(inputs):
        dims = value.type.tensor_type.shape.dim
        names: Iterable[str | None] = [dim.dim_param or None for dim in dims]
        if signature is not None:
            names = [dim if isinstance(dim, str) else None for dim in signature.inputs[place].dims]
        fixed = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
        try:
            shape = tuple(_size(name, size, axes) for name, size in zip(names, fixed, strict=True))
        except ValueError as error:
            raise BenchmarkError(f"input {value.name} with axes {fixed}: {error}") from error
        yield value.name, GraphTensor(shape=shape, dtype=_dtype(value.type.tensor_type.elem_type))


def _size(name: str | None, fixed: int | None, axes: Mapping[str, int]) -> int:
    """The size of one axis of an input, by its name and by what the graph fixes."""
    asked = axes.get(name) if name else None
    if fixed is not None and asked is not None and fixed != asked:
        raise ValueError(f"{name} is fixed there, but {asked} was asked for")
    size = asked if fixed is None else fixed
    if size is None:
        raise ValueError(f"{name or 'an axis without a name'} has no size; there are sizes for {', '.join(axes)}")
    return size


def _outputs(
    node: onnx.NodeProto, tensors: Mapping[str, GraphTensor], opsets: Iterable[onnx.OperatorSetIdProto]
) -> dict[str, GraphTensor]:
    """What a node gives."""
    from onnx import helper, shape_inference

    inputs = {name: tensors[name] for name in node.input if name}
    known = {name: tensor.value for name, tensor in inputs.items() if tensor.value is not None}
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape)
            for name, tensor in inputs.items()
            if name not in known
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        [_constant(name, value) for name, value in known.items()],
    )
    single = helper.make_model(graph, opset_imports=list(opsets))
    values: dict[str, NDArray[Any]] = {}
    try:
        inferred = shape_inference.infer_shapes(single, check_type=True, strict_mode=True, data_prop=True)
        shapes = {value.name: _inferred(value) for value in inferred.graph.output}
        small = all(shape is None or math.prod(shape) <= KNOWN_ELEMENTS for shape in shapes.values())
        if small and (len(known) == len(inputs) or node.op_type in ("Shape", "Size")):
            values = _computed(single, node, inputs)
    except Exception as error:  # inference, its checker and the reference implementation raise whatever they like
        raise BenchmarkError(f"{described(node)} does not fit its inputs: {error}") from error
    result = {}
    for value in inferred.graph.output:
        held = values.get(value.name)  # its shape is known even where that depends on values
        shape = shapes[value.name] if held is None else held.shape
        if shape is None:
            raise BenchmarkError(
                f"the shape of {value.name}, from {described(node)}, depends on more than the sizes of the inputs; "
                "its arithmetic cannot be counted"
            )
        dtype = _dtype(value.type.tensor_type.elem_type) if held is None else held.dtype
        result[value.name] = GraphTensor(shape=shape, dtype=dtype, value=held)
    return result


def _inferred(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _computed(
    single: onnx.ModelProto, node: onnx.NodeProto, inputs: Mapping[str, GraphTensor]
) -> dict[str, NDArray[Any]]:
    """What a node whose inputs are known gives; of ``Shape`` and ``Size`` the input's shape is enough."""
    from onnx.reference import ReferenceEvaluator

    # A view of one number has the shape without the memory.
    feed = {
        name: np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)
        for name, tensor in inputs.items()
        if tensor.value is None
    }
    found = ReferenceEvaluator(single).run(None, feed)
    names = [name for name in node.output if name]
    return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}


def _constant(name: str, value: NDArray[Any]) -> onnx.TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


def _dtype(element_type: int) -> np.dtype[Any]:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(element_type))
