"""How much arithmetic, and how much traffic to memory, a graph asks for: counted from the graph, not measured.

A multiply-add is two floating-point operations (FLOP). Products are counted in full, taps on padding included, as
``torch.utils.flop_counter`` counts them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from apcodec_benchmarks.arithmetic.tensors import GraphTensor, described, tensors_of
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.precision import BFLOAT16, FLOAT32, INT8
from apcodec_deploy.signatures import GraphSignature

if TYPE_CHECKING:
    import onnx

Tensors = Mapping[str, GraphTensor]

PRODUCTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
"""Operators that multiply and add, and whose products are counted."""

PER_ELEMENT = {"LayerNormalization": 7, "Gelu": 5, "Softmax": 5, "LogSoftmax": 5}
"""FLOP per output element of operators that are several in one. LayerNormalization: two sums, a difference, a square,
a division, scale and shift. Gelu: two scalings, an error function, a sum, a product. Any other operator counts one,
a root, a logarithm or an arc tangent too, and a reduction one per *input* element."""

VIEWS = frozenset(("Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"))
"""Operators that move nothing: what they give lies where their input lies, or is not data."""

MOVES = VIEWS | frozenset(
    (
        "Cast", "CastLike", "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Gather",
        "GatherElements", "GatherND", "OneHot", "Pad", "ReverseSequence", "ScatterElements", "ScatterND", "Slice",
        "SpaceToDepth", "Split", "Tile", "Transpose", "Trilu",
    )
)  # fmt: skip
"""Operators without arithmetic."""

SELECTIONS = frozenset(("Gather", "GatherElements", "GatherND", "Slice"))
"""Operators that read no more of their first input than they give."""

UNCOUNTED = frozenset(
    (
        "Attention", "CausalConvWithState", "ConvInteger", "DFT", "DeformConv", "Det", "Einsum", "GRU", "If", "LSTM",
        "LinearAttention", "Loop", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN", "STFT", "Scan",
        "SequenceMap",
    )
)  # fmt: skip
"""Operators whose products nobody counts here; one per element would be far too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one run of one graph asks for; 0 or empty is what nobody counted.

    Attributes:
        products: FLOP of convolutions and matrix products, biases excluded.
        least_bytes: Weights once, inputs and outputs of the graph: what any implementation must move. Of a table that
            is only looked up, no more than what is looked up.
        pointwise: FLOP of everything but products: one per output element and operation, so right to a factor of a few.
        weight_bytes: Those of the least bytes that are weights, which a batch needs once.
        written_bytes: The sum over all nodes of what each reads and writes: what the graph moves if nothing is fused
            and no cache helps.
        by_layer: FLOP of each product, by the node's name.
    """

    products: float
    least_bytes: float
    pointwise: float = 0.0
    weight_bytes: float = 0.0
    written_bytes: float = 0.0
    by_layer: Mapping[str, float] = field(default_factory=dict)

    def least_bytes_of(self, clips: int) -> float:
        """Of so many clips at a time, where this was counted for one."""
        return self.weight_bytes + clips * (self.least_bytes - self.weight_bytes)


def work_of(
    model: onnx.ModelProto | bytes, axes: Mapping[str, int], *, signature: GraphSignature | None = None
) -> Work:
    """Count what one run of a graph asks for.

    Args:
        model: The graph, or the bytes of its file.
        axes: The size of each dynamic axis by its name.
        signature: Names the axes of the graph's inputs, in their order; the graph's own names count where None.

    Raises:
        BenchmarkError: A dynamic axis has no size, a shape cannot be told from the sizes of the inputs, or the graph
            holds an operator that cannot be counted.
    """
    import onnx

    model = onnx.load_from_string(model) if isinstance(model, bytes) else model
    graph = model.graph
    for node in graph.node:
        if node.op_type in UNCOUNTED or node.domain not in ("", "ai.onnx"):
            raise BenchmarkError(
                f"{described(node)} cannot be counted: only ONNX's own operators can, and of those that multiply "
                f"and add only {', '.join(sorted(PRODUCTS))}"
            )
    tensors = tensors_of(model, axes, signature)
    layers: Counter[str] = Counter()
    pointwise = written = 0
    for node in graph.node:
        if product := _product(node, tensors):
            layers[node.name or node.output[0]] += product
        pointwise += _pointwise(node, tensors)
        written += _moved(node, tensors)
    weights = _weights(graph, tensors)
    outside = {value.name for value in (*graph.input, *graph.output)} - weights.keys()
    weight_bytes = sum(weights.values())
    return Work(
        products=float(layers.total()),
        pointwise=float(pointwise),
        least_bytes=float(weight_bytes + sum(tensors[name].bytes for name in outside)),
        weight_bytes=float(weight_bytes),
        written_bytes=float(written),
        by_layer={name: float(count) for name, count in layers.items()},
    )


def bundle_work(bundle: Bundle, samples: int, precision: str = "float32") -> dict[str, Work]:
    """Count what each graph of a bundle asks for, for one clip.

    Args:
        bundle: An exported model.
        samples: Length of the clip; below ``ModelSpec.min_samples`` that length counts, to which it is extended.
        precision: Of the networks; transforms and code search are float32 in any. bfloat16 is a way to compute the
            float32 graphs, and 8-bit graphs do the same work on other numbers: both count as float32.

    Returns:
        By the graph's name, in the order in which audio passes them.

    Raises:
        BenchmarkError: A graph cannot be counted.
        BundleError: A graph cannot be read, or there is none of that precision.
    """
    spec = bundle.spec
    samples = max(samples, spec.min_samples)
    encoding = {"batch": 1, **spec.axes_of_audio(samples)}
    decoding = {"batch": 1, **spec.axes_of_codes(spec.latents(samples))}
    held = FLOAT32 if precision in (BFLOAT16, INT8) else precision
    axes = dict.fromkeys(spec.chains["encode"], encoding) | dict.fromkeys(spec.chains["decode"], decoding)
    return {
        name: work_of(bundle.graph(name, held), axes[name], signature=signature)
        for name, signature in spec.graphs.items()
    }


def _product(node: onnx.NodeProto, tensors: Tensors) -> int:
    """FLOP of a convolution or a matrix product, its bias excluded; 0 for any other operator."""
    if node.op_type not in PRODUCTS:
        return 0
    left, right, output = (tensors[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "MatMul":
        return 2 * output.elements * left.shape[-1]
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return 2 * output.elements * left.shape[0 if transposed else 1]
    # The weight of one output channel, (C in / groups) x kernel, meets each element of the output; in the transpose
    # that of one input channel, (C out / groups) x kernel, each element of the input.
    meets = output if node.op_type == "Conv" else left
    return 2 * meets.elements * math.prod(right.shape[1:])


def _pointwise(node: onnx.NodeProto, tensors: Tensors) -> int:
    """FLOP of anything but a product, approximately; the bias of a product is one per element of its output."""
    operands = [tensors[name] for name in node.input if name]
    if node.op_type in MOVES or not any(_floating(operand) for operand in operands):
        return 0
    elements = sum(tensors[name].elements for name in node.output if name)
    if node.op_type in PRODUCTS:
        return elements if len(operands) > 2 else 0
    if node.op_type.startswith("Reduce") or node.op_type in ("ArgMax", "ArgMin"):
        return operands[0].elements
    return elements * PER_ELEMENT.get(node.op_type, 1)


def _moved(node: onnx.NodeProto, tensors: Tensors) -> int:
    """Bytes that a node reads and writes; an input that it takes twice is read once."""
    if node.op_type in VIEWS:
        return 0
    written = sum(tensors[name].bytes for name in node.output if name)
    return written + sum(_read(node, name, tensors) for name in dict.fromkeys(node.input) if name)


def _read(node: onnx.NodeProto, name: str, tensors: Tensors) -> int:
    """Bytes that a node reads of one input."""
    whole = tensors[name].bytes
    if node.op_type in SELECTIONS and name == node.input[0]:
        return min(whole, tensors[node.output[0]].bytes)
    return whole


def _weights(graph: onnx.GraphProto, tensors: Tensors) -> dict[str, int]:
    """Bytes of each weight that the nodes read at least."""
    weights = {initializer.name for initializer in graph.initializer}
    weights |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    needed: Counter[str] = Counter()
    for node in graph.node:
        for name in weights.intersection(node.input):
            needed[name] += _read(node, name, tensors)
    # Several nodes may read one weight, and one that two of them read in part is read once at most.
    return {name: min(needed[name], tensors[name].bytes) for name in weights}


def _floating(tensor: GraphTensor) -> bool:
    # bfloat16 and the 8-bit types are no numpy types, so they tell it by their name.
    return np.issubdtype(tensor.dtype, np.floating) or "float" in tensor.dtype.name
