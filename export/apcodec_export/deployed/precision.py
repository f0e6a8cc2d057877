"""Which parts of the network compute in which precision: plans, as data.

Engines are built from strongly typed graphs, so a precision is a property of the graph, settled here and nowhere else.
A plan gives every *product* (convolution or linear) a type by its path in the deployed network
(``encoder.phase.blocks.3.expand``), and one to what blocks pass on (``decoder.amplitude.stream``). Everything else
stays in float32 under every plan: LayerNorm, GELU, global response normalisation, exponential, direction, and the
graphs that hold the transforms and the code search.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from apcodec_deploy.errors import ExportError

TYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16}
"""float64 is for proving that folding is exact; nothing is exported in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """The types of a network's layers.

    Attributes:
        name: The reduced type, which names the graphs: ``float16``; ``float32`` where nothing is reduced.
        float32: Patterns of paths (``*`` stands for anything) that keep float32 all the same.
    """

    name: str
    float32: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in TYPES:
            raise ExportError(f"no precision is called {self.name!r}; there are: {', '.join(TYPES)}")

    def dtype(self, path: str) -> torch.dtype:
        """The type of the layer at ``path``."""
        kept = any(fnmatchcase(path, pattern) for pattern in self.float32)
        return torch.float32 if kept else TYPES[self.name]

    def check(self, paths: list[str]) -> None:
        """Refuse patterns that name no layer: a slip would silently reduce what was to be kept.

        Raises:
            ExportError: A pattern matches none of ``paths``.
        """
        idle = [pattern for pattern in self.float32 if not any(fnmatchcase(path, pattern) for path in paths)]
        if idle:
            raise ExportError(f"no layer is called {', '.join(idle)}; layers are called like {', '.join(paths[:4])}")

    def to_dict(self, paths: list[str]) -> dict[str, Any]:
        """The plan as it stands beside the graphs: its rules, and the type of each layer."""
        layers = {path: str(self.dtype(path)).removeprefix("torch.") for path in paths}
        return {"reduced": self.name, "float32": list(self.float32), "layers": layers}


FULL = PrecisionPlan(name="float32")
HALF = PrecisionPlan(name="float16")
"""The default plan of ``encoder.fp16.onnx`` and ``decoder.fp16.onnx``."""
