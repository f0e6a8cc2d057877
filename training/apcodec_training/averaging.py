"""An average of the weights over the last steps: it sounds better than those of any single step, and costs little."""

from __future__ import annotations

from copy import deepcopy

import torch

from apcodec_training.generator import Generator


class Averaged:
    """The exponential average of a generator's weights.

    Attributes:
        generator: One with the averaged weights, in eval mode.
    """

    def __init__(self, source: Generator, decay: float) -> None:
        """Start from the weights as they are.

        Args:
            source: What is averaged.
            decay: Share of the average that a step leaves as it was; 0.999 averages over some thousand steps.
        """
        self.decay = decay
        self._source = source
        copies = deepcopy(source.encoder), deepcopy(source.decoder)
        device = next(source.parameters()).device
        self.generator = Generator(source.network, *copies).to(device).requires_grad_(False).eval()

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after a step, counted from 0. The first steps count more, as they are few."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for own, new in (
            (self.generator.encoder, self._source.encoder),
            (self.generator.decoder, self._source.decoder),
        ):
            torch._foreach_lerp_(list(own.parameters()), list(new.parameters()), share)
