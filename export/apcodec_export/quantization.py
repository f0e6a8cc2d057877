"""Graphs whose products multiply 8-bit integers: ONNX Runtime's static quantisation, calibrated on real audio.

Weights get a scale per output channel, what comes into a product one scale and zero point for all clips, so that batch
mates stay independent. Everything else, the products' results included, stays float32.

Weights use 7 of the 8 bits. Processors without VNNI multiply unsigned by signed bytes and add pairs of products in 16
bits, which overflow silently: 2 x 255 x 127 is too much, 2 x 255 x 64 is not. So the same graph gives the same products
on every processor.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from apcodec_deploy.errors import ExportError
from apcodec_deploy.ort import onnxruntime

Feed = Mapping[str, NDArray[np.float32]]
"""A graph's inputs by name."""


def quantized(model: onnx.ModelProto, products: Sequence[str], feeds: Sequence[Feed]) -> onnx.ModelProto:
    """The same graph with 8-bit integer products.

    Args:
        model: A float32 graph.
        products: The names of the nodes to quantise.
        feeds: Inputs whose activations set the ranges.

    Raises:
        ExportError: A product is not in the graph, or ONNX Runtime cannot quantise it.
    """
    from onnxruntime import quantization

    if missing := sorted(set(products) - {node.name for node in model.graph.node}):
        raise ExportError(f"the graph {model.graph.name} has no product called {', '.join(missing)}")
    held = onnx.ModelProto()
    held.CopyFrom(model)
    for node in held.graph.node:  # the calibrator tells nodes apart by their names
        node.name = node.name or f"at_{node.output[0]}"
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantized.onnx"
        try:
            quantization.quantize_static(
                held,
                path,
                _reader(quantization, feeds),
                quant_format=quantization.QuantFormat.QDQ,
                nodes_to_quantize=list(products),
                per_channel=True,
                reduce_range=True,
                weight_type=quantization.QuantType.QInt8,
                activation_type=quantization.QuantType.QUInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={
                    "OpTypesToExcludeOutputQuantization": ["Conv", "MatMul"],
                    "QuantizeBias": False,
                    "MatMulConstBOnly": True,
                },
            )
        except Exception as error:  # it raises whatever the layer below it raised
            raise ExportError(
                f"ONNX Runtime {onnxruntime.__version__} could not quantise {model.graph.name}: {error}"
            ) from error
        made = onnx.load(path)
    return made


def _reader(quantization: Any, feeds: Sequence[Feed]) -> Any:
    """What ONNX Runtime's calibrator reads inputs from."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Feed] = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._left, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep its advice away from our users: to preprocess, which the export has done, and to pad what it cannot read."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
