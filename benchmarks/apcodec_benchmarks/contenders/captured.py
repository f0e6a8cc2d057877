"""APCodec in plain PyTorch, each direction recorded as one CUDA graph and replayed: what launches alone cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.reference import PyTorchReference

_WARM_UP = 3
"""Plain calls before a recording, as PyTorch asks for: libraries choose and allocate in them."""


class CapturedReference(PyTorchReference):
    """A graph for each direction and shape. What a call gives is overwritten by the next one of its shape."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._recorded: dict[tuple[str, torch.Size], tuple[Any, Tensor, Tensor]] = {}
        self.facts = replace(self.facts, title="APCodec, PyTorch with CUDA graphs, whole clips")

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        return self._replayed("encode", audio, super().encode)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        return self._replayed("decode", codes, super().decode)

    def _replayed(self, direction: str, rows: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        key = (direction, rows.shape)
        if key not in self._recorded:
            self._recorded[key] = self._record(rows.clone(), call)
        graph, held, result = self._recorded[key]
        held.copy_(rows)
        graph.replay()
        return result

    def _record(self, held: Tensor, call: Callable[[Tensor], Tensor]) -> tuple[Any, Tensor, Tensor]:
        """The graph, and the memory that it reads and writes."""
        library: Any = torch.cuda  # whose streams and graphs carry no types
        beside = library.Stream(self.device)
        beside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                call(held)
        torch.cuda.current_stream(self.device).wait_stream(beside)
        graph = library.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call(held)
        return graph, held, result


def captured(settings: Settings) -> CapturedReference:
    """The PyTorch modules of a checkpoint, recorded."""
    return CapturedReference(settings)
