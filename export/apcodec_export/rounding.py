"""Weights with fewer significant bits, so that what is packed for shipping gets smaller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from apcodec_deploy.errors import ExportError
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.integers import judge_integers

WEIGHT_BITS = 24
"""What float32 has: nothing is rounded."""
LEAST_BITS = 8
"""What bfloat16 has."""
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def check_weight_bits(bits: int) -> None:
    """Refuse what float32 cannot hold, and what no longer is the model.

    Raises:
        ExportError: ``bits`` is not between ``LEAST_BITS`` and ``WEIGHT_BITS``.
    """
    if not LEAST_BITS <= bits <= WEIGHT_BITS:
        raise ExportError(f"weights can have {LEAST_BITS} to {WEIGHT_BITS} significant bits, not {bits}")


def fewer_bits(models: Mapping[str, bytes], bits: int) -> dict[str, bytes]:
    """Serialized graphs by name, with rounded weights; see ``round_weights``."""
    if bits >= WEIGHT_BITS:
        return dict(models)
    made = {}
    for name, data in models.items():
        model = onnx.load_from_string(data)
        round_weights(model, bits)
        made[name] = model.SerializeToString(deterministic=True)
    return made


def judge_rounding(checkpoint: Checkpoint, models: Mapping[str, bytes], bits: int) -> dict[str, Any]:
    """What rounded weights change of codes and sound, as it stands in ``model.json``.

    Args:
        checkpoint: The model.
        models: Its float32 graphs with rounded weights, serialized, by name.
        bits: Their significant bits.

    Raises:
        ExportError: So much that 8-bit graphs would not be advised.
    """
    judgement = judge_integers(checkpoint, models)
    if problems := judgement.problems:
        raise ExportError(f"weights of {bits} bits are too coarse: {'; '.join(problems)}; keep more bits")
    return {"judgement": judgement.to_dict()}


def round_weights(model: onnx.ModelProto, bits: int) -> None:
    """Round the weights of convolutions and linears in place; biases, tables and transforms stay as they are.

    The graph computes in the same type as before, and its file has the same size. But the bits that are rounded away
    are zeros, which wheels, zip files and Git pack to nothing: weights of 11 bits, as half precision has them, take a
    little more than half.

    Args:
        model: A graph whose weights are called ``*.weight``, of float32 or float16.
        bits: Significant bits to keep, the leading one included.
    """
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight") and tensor.data_type in _FLOATS and len(tensor.dims) > 1:
            weights = onnx.numpy_helper.to_array(tensor)
            fewer = rounded(weights.astype(np.float32), bits).astype(weights.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(fewer, tensor.name))


def rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest numbers of so many significant bits, those halfway to the even one; any shape.

    Args:
        values: Finite float32 numbers.
        bits: Significant bits to keep, the leading one included.
    """
    fraction, exponent = np.frexp(values)
    steps = np.float32(2.0**bits)
    made: NDArray[np.float32] = np.ldexp(np.round(fraction * steps) / steps, exponent).astype(np.float32)
    return made
