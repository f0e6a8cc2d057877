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

TYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "int8": torch.float32}
"""float64 is for proving that folding is exact; nothing is exported in it. What int8 multiplies is quantised after it
was exported in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """The types of a network's layers.

    Attributes:
        name: The reduced type, which names the graphs: ``float16`` or ``int8``; ``float32`` where nothing is reduced.
        float32: Patterns of paths (``*`` stands for anything) that keep float32 all the same.
    """

    name: str
    float32: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in TYPES:
            raise ExportError(f"no precision is called {self.name!r}; there are: {', '.join(TYPES)}")

    def dtype(self, path: str) -> torch.dtype:
        """The type of the layer at ``path``."""
        return torch.float32 if self._kept(path) else TYPES[self.name]

    def quantizes(self, path: str) -> bool:
        """Whether the layer at ``path`` multiplies 8-bit integers."""
        return self.name == "int8" and not self._kept(path)

    @property
    def folds_heads(self) -> bool:
        """Whether a branch's last linear is part of the convolutions after it.

        Not among integers: the linear's bias would share a scale with activations that are far from it in size.
        """
        return self.name != "int8"

    def _kept(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.float32)

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
        layers = {
            path: self.name if self.quantizes(path) else str(self.dtype(path)).removeprefix("torch.") for path in paths
        }
        return {"reduced": self.name, "float32": list(self.float32), "layers": layers}


FULL = PrecisionPlan(name="float32")
HALF = PrecisionPlan(name="float16")
"""The default plan of ``encoder.fp16.onnx`` and ``decoder.fp16.onnx``."""
INTEGER = PrecisionPlan(
    name="int8",
    float32=(
        *("*.stream", "*.depthwise", "*.latent", "*_down", "decoder.*.embed.*"),
        *("encoder.amplitude.embed", "encoder.amplitude.out"),
        "decoder.amplitude.*.contract",
    ),
)
"""The plan of ``encoder.int8.onnx`` and ``decoder.int8.onnx``: what multiplies many channels at frame rate. The rest
is a few per cent of the work and stands next to the codes. Three exceptions were measured layer by layer. The encoder's
first and last products of the amplitude change 9 and 6 % of the codes by themselves, as much as all others together: a
log-amplitude spans too wide a range for one scale. In the decoder's amplitude, what GRN has sharpened does, and its
error is heard as level."""
STREAM_INTEGER = PrecisionPlan(
    name="int8",
    float32=(
        *("*.stream", "*.depthwise", "encode.latent", "*_down", "encode.amplitude_input"),
        *("decode.front.*", "decode.heads.*_out"),
    ),
)
"""The plan of ``encode.int8.onnx`` and ``decode.int8.onnx``, likewise."""
