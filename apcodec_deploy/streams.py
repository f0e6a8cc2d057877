"""How a clip passes through a causal model: as one stream, in calls of bounded size with the state carried over.

There are no windows, no context and no seams, and the size of the calls changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

CALL_LATENTS = 64
"""Latents of a call: enough that reading the weights costs little, few enough that activations stay in the caches."""


@dataclass(frozen=True, slots=True)
class StreamLayout:
    """One stream.

    Attributes:
        delay: Samples at the model's rate by which what is decoded lags behind what was coded.
    """

    delay: int

    @property
    def length(self) -> int:
        """Latents that the network sees at a time."""
        return CALL_LATENTS

    def check(self, latents: int) -> None:
        """A stream may have any length."""

    def latents(self, samples: int, unit: int) -> int:
        """Latents of a clip of ``samples``, ``unit`` to a latent: as many as it takes until its last one is final."""
        return -(-(samples + self.delay) // unit)
