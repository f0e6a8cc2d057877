"""OpenVINO's own copy of a network: products as convolutions, in a stream with channels first.

Bundles hold what most runtimes want: a stream with channels last, (B, T, C), products of matrices, and a transpose
before and after each convolution. OpenVINO wants images: it keeps their channels last in memory by itself from one
operator to the next, and has fast 8-bit convolutions on every processor, where on those without VNNI its 8-bit products
are as slow as float32. So a product becomes a convolution of one tap, and what stands between two of them is computed
on images of one line, (B, C, 1, T). Transposes between them vanish; where lengths are open, OpenVINO would move the
data for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FORM = "channels first 1"
"""Names what graphs are rewritten to; another number for every change."""
_TURNED = (0, 2, 1)
"""The order of a transpose between (B, T, C) and (B, C, T), either way."""
_ELEMENTWISE = {"Add", "Subtract", "Multiply", "Divide", "Convert", "FakeQuantize", "Gelu", "Sqrt"}
"""Operators that do not care which axis is which, as long as all of their inputs agree."""


def channels_first(openvino: Any, model: Any) -> int:
    """Compute products as convolutions, and with channels first wherever that is possible.

    Args:
        openvino: The module.
        model: Of OpenVINO, whose streams are (B, T, C); it is changed, and computes the same.

    Returns:
        How many products became convolutions.
    """
    turning = _Turning(openvino.opset13)
    for node in model.get_ordered_ops():
        turning.visit(node)
    model.validate_nodes_and_infer_types()
    return turning.products


class _Turning:
    """Goes through a graph and knows of (B, T, C) outputs what they are as (B, C, 1, T)."""

    def __init__(self, ops: Any) -> None:
        self.products = 0
        self._ops = ops
        self._first: dict[tuple[str, int], Any] = {}

    def visit(self, node: Any) -> None:
        """Turn one operator, if it is of a kind that can be turned and its input is at hand."""
        kind = node.get_type_name()
        if kind == "MatMul":
            self._product(node)
        elif kind == "GroupConvolution":
            self._depthwise(node)
        elif kind == "ReduceMean" and (held := self._held(node, 0)) is not None and _axes(node) == (2,):
            self._becomes(node, self._ops.reduce_mean(held, self._numbers(1), True))
        elif kind == "Transpose" and _axes(node) == _TURNED and self._held(node, 0) is None:
            line = self._ops.unsqueeze(node.input_value(0), self._numbers(2))
            self._first[_key(node.output(0))] = line.output(0)
        elif kind in _ELEMENTWISE and any(self._held(node, index) for index in range(node.get_input_size())):
            self._elementwise(node)

    def _product(self, node: Any) -> None:
        """A product by weights as a convolution of one tap; a row of ones times the stream as the sum it stands for."""
        kernel = self._kernel(node.input_value(1).get_node())
        if kernel is not None and node.input_value(0).get_partial_shape().rank.get_length() == 3:
            stream = self._turned(node.input_value(0))
            self._becomes(node, self._convolution(self._ops.convolution, stream, kernel, 0))
            self.products += 1
        elif (held := self._held(node, 1)) is not None and _is_ones(node.input_value(0).get_node()):
            self._becomes(node, self._ops.reduce_sum(held, self._numbers(2, 3), True))

    def _kernel(self, weights: Any) -> Any:
        """Weights (C in, C out) as a kernel (C out, C in, 1, 1), of the type they are stored in; None for others."""
        ops = self._ops
        if weights.get_type_name() == "Constant" and weights.data.ndim == 2:
            return ops.constant(_taps(weights.data))
        held = _integers(weights)
        if held is None:
            return None
        integers, scale = held
        return ops.multiply(
            ops.convert(ops.constant(_taps(integers)), "f32"), ops.constant(_taps(scale.reshape(1, -1)))
        )

    def _depthwise(self, node: Any) -> None:
        """A convolution between two transposes: its input is what one of them gives."""
        source, kernel = node.input_value(0).get_node(), _behind(node.input_value(1).get_node())
        if source.get_type_name() != "Transpose" or kernel.get_type_name() != "Constant" or _axes(source) != _TURNED:
            return
        (before,) = node.get_attributes()["pads_begin"]
        taps = self._ops.constant(np.ascontiguousarray(kernel.data[:, :, None, None, :]))
        stream = self._turned(source.input_value(0))
        made = self._convolution(self._ops.group_convolution, stream, taps, int(before))
        line = self._ops.squeeze(made, self._numbers(2))
        node.output(0).replace(line.output(0))
        self._planar(line.output(0), made.output(0))

    def _planar(self, planar: Any, first: Any) -> None:
        """Follow (B, C, T) to the transpose behind it, which gives (B, T, C): through the bias that is added to it."""
        for target in planar.get_target_inputs():
            node = target.get_node()
            if node.get_type_name() == "Add":
                bias = _behind(node.input_value(1 - target.get_index()).get_node())
                if bias.get_type_name() == "Constant":
                    added = self._ops.add(first, self._ops.constant(bias.data.reshape(1, -1, 1, 1)))
                    self._planar(node.output(0), added.output(0))
            elif node.get_type_name() == "Transpose" and _axes(node) == _TURNED:
                self._becomes(node, first.get_node())

    def _convolution(self, operator: Any, stream: Any, kernel: Any, padding: int) -> Any:
        return operator(stream, kernel, [1, 1], [0, padding], [0, padding], [1, 1])

    def _elementwise(self, node: Any) -> None:
        consumers = node.output(0).get_target_inputs()
        inputs = [self._turned(node.input_value(index)) for index in range(node.get_input_size())]
        for index, value in enumerate(inputs):
            node.input(index).replace_source_output(value)
        node.validate_and_infer_types()
        last = self._last(node.output(0))
        for each in consumers:
            each.replace_source_output(last)
        self._first[_key(last)] = node.output(0)

    def _becomes(self, node: Any, made: Any) -> None:
        """Put what was made with channels first in the place of an operator."""
        last = self._last(made.output(0))
        node.output(0).replace(last)
        self._first[_key(last)] = made.output(0)

    def _turned(self, value: Any) -> Any:
        """(B, T, C) as (B, C, 1, T): what is at hand, a constant with its axes turned, or a transpose."""
        if (held := self._first.get(_key(value))) is not None:
            return held
        node = value.get_node()
        if node.get_type_name() == "Constant":
            data = node.data
            turned = data.reshape((1,) * (3 - data.ndim) + data.shape).transpose(_TURNED)[:, :, None]
            return value if data.size == 1 else self._ops.constant(np.ascontiguousarray(turned)).output(0)
        if value.get_partial_shape().rank.get_length() < 3:
            return value  # one number
        lines = self._ops.unsqueeze(value, self._numbers(1))
        return self._ops.transpose(lines, self._numbers(0, 3, 1, 2)).output(0)

    def _last(self, first: Any) -> Any:
        """(B, C, 1, T) as (B, T, C)."""
        lines = self._ops.transpose(first, self._numbers(0, 2, 3, 1))
        return self._ops.squeeze(lines, self._numbers(1)).output(0)

    def _held(self, node: Any, index: int) -> Any:
        return self._first.get(_key(node.input_value(index)))

    def _numbers(self, *values: int) -> Any:
        return self._ops.constant(np.array(values, np.int64))


def _key(value: Any) -> tuple[str, int]:
    return value.get_node().get_name(), value.get_index()


def _axes(node: Any) -> tuple[int, ...] | None:
    """What the second input of a transpose or a reduction names."""
    axes = node.input_value(1).get_node()
    return tuple(int(axis) for axis in axes.data.reshape(-1)) if axes.get_type_name() == "Constant" else None


def _is_ones(node: Any) -> bool:
    """Whether a node repeats the number one."""
    value = node.input_value(0).get_node() if node.get_type_name() == "Broadcast" else node
    return value.get_type_name() == "Constant" and value.data.size == 1 and float(value.data.reshape(-1)[0]) == 1


def _taps(weights: NDArray[Any]) -> NDArray[Any]:
    """(C in, C out) as (C out, C in, 1, 1)."""
    return np.ascontiguousarray(weights.T[:, :, None, None])


def _integers(weights: Any) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Weights of 8 bits (C in, C out) and a scale for each column; None where they are none.

    They have no zero point: they are symmetric about zero.
    """
    if weights.get_type_name() != "Multiply":
        return None
    centred, scale = (_behind(weights.input_value(index).get_node()) for index in (0, 1))
    if centred.get_type_name() == "Subtract":
        centred, zero = (_behind(centred.input_value(index).get_node()) for index in (0, 1))
        if zero.get_type_name() != "Constant" or np.any(zero.data):
            return None
    if centred.get_type_name() != "Constant" or scale.get_type_name() != "Constant" or centred.data.dtype != np.int8:
        return None
    return centred.data, np.asarray(scale.data, np.float32)


def _behind(node: Any) -> Any:
    """What a node only reshapes or converts."""
    while node.get_type_name() in ("Reshape", "Convert"):
        node = node.input_value(0).get_node()
    return node
