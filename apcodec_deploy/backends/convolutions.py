"""8-bit products in the form that OpenVINO computes fast on processors with AVX2 only.

OpenVINO has no fast product of 8-bit matrices there, but a fast 8-bit convolution: a product over channels is a
convolution of one tap, and the transposes around it cost nothing, since OpenVINO keeps channels last. Bundles hold
products, which ONNX Runtime and newer processors want; so OpenVINO's own copy is rewritten when it is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.processor import Processor

FORM = "convolutions 1"
"""Names the form that graphs are rewritten to; another number for every change of what is written."""
_CHANNELS_FIRST = (0, 2, 1)
"""(B, T, C) to (B, C, T), and back."""


def wanted(processor: Processor) -> bool:
    """Whether a processor computes convolutions of 8 bits faster than products."""
    return "avx2" in processor.usable and not {"avx512f", "avx_vnni"} & set(processor.usable)


def as_convolutions(openvino: Any, model: Any) -> int:
    """Write the products (B, T, C in) by (C in, C out) of 8-bit numbers in a model as convolutions.

    Args:
        openvino: The module.
        model: Of OpenVINO; it is changed.

    Returns:
        How many there were.
    """
    ops = openvino.opset13
    order = ops.constant(np.array(_CHANNELS_FIRST, np.int64))
    count = 0
    for node in model.get_ordered_ops():
        weight = _weight(node) if node.get_type_name() == "MatMul" else None
        if weight is None:
            continue
        integers, scale = weight
        taps = ops.convert(ops.constant(np.ascontiguousarray(integers.T[:, :, None])), "f32")
        kernel = ops.multiply(taps, ops.constant(np.ascontiguousarray(scale.reshape(-1, 1, 1))))
        product = ops.convolution(ops.transpose(node.input_value(0), order), kernel, [1], [0], [0], [1])
        node.output(0).replace(ops.transpose(product, order).output(0))
        count += 1
    return count


def _weight(product: Any) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """What a product multiplies by: 8-bit integers (C in, C out) and a scale for each column; None for other products.

    Its weights have no zero point: they are symmetric about zero.
    """
    scaled = product.input_value(1).get_node()
    if scaled.get_type_name() != "Multiply":
        return None
    centred, scale = (_behind(scaled.input_value(index).get_node()) for index in (0, 1))
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
