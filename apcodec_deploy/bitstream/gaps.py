"""Stretches of a clip that damage has taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Gap:
    """Latents ``start`` to ``stop`` that could not be read, and why.

    Those inside the clip decode to silence; those after its end are missing from it, and a clip of unknown length has
    an empty gap there.
    """

    start: int
    stop: int
    reason: str


def silenced(blocks: Iterable[NDArray[np.float32]], gaps: Sequence[Gap], unit: float) -> Iterator[NDArray[np.float32]]:
    """Zero the samples of the latents in ``gaps``: audio (C, n), ``unit`` samples a latent."""
    position = 0
    for block in blocks:
        for gap in gaps:
            start, stop = round(gap.start * unit) - position, round(gap.stop * unit) - position
            if start < block.shape[1] and stop > 0:
                block = block.copy()
                block[:, max(start, 0) : stop] = 0
        position += block.shape[1]
        yield block
