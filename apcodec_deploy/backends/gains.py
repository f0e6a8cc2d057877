"""How much faster OpenVINO is than ONNX Runtime, which everybody has, by kind of processor."""

from __future__ import annotations

from collections.abc import Mapping

from apcodec_deploy.processor import Processor

VNNI, AVX2 = "vnni", "avx2"
"""Kinds of processors: with instructions for 8-bit products, and with AVX2 but without them."""
_PRODUCTS_OF_BYTES = {"avx512_vnni", "avx_vnni", "amx_int8"}
MEASURED: Mapping[str, float] = {VNNI: 3.1, AVX2: 1.6}
"""Round trips of ONNX Runtime in float32 that take as long as one of OpenVINO in 8-bit integers takes: clips of 10 s
on one thread, the published shape (``benchmarks/results/cpu``)."""


def kind_of(processor: Processor) -> str | None:
    """Of which of the kinds a processor is; None where neither was measured."""
    usable = set(processor.usable)
    if usable & _PRODUCTS_OF_BYTES:
        return VNNI
    return AVX2 if AVX2 in usable else None


def gain(processor: Processor) -> float | None:
    """How many times as fast OpenVINO is on processors of this kind; None where that was not measured."""
    kind = kind_of(processor)
    return None if kind is None else MEASURED[kind]
