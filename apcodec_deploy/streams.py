"""How a clip passes through a causal model: as one stream, in calls of bounded size with the state carried over.

There are no windows, no context and no seams, and the size of the calls changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CALL_LATENTS = 64
"""Latents of a call: enough that reading the weights costs little, few enough that activations stay in the caches."""


@dataclass(frozen=True, slots=True)
class StreamLayout:
    """One stream.

    Attributes:
        delay: Samples at the model's rate by which what is decoded lags behind what was coded.
    """

    delay: int

    def __str__(self) -> str:
        return f"none: one stream, decoded {self.delay} samples late"

    @property
    def length(self) -> int:
        """Latents that the network sees at a time."""
        return CALL_LATENTS

    def title(self, latent_rate: float) -> str:
        """How a clip is cut, for a table."""
        return "one stream"

    cut_note = (
        "these codes are one stream: the first frames after a cut are decoded without what was before them, so the "
        "first milliseconds differ from those of the whole clip"
    )
    """What a part of such a clip's codes lacks, for people."""

    @property
    def seam_note(self) -> str:
        """What a clip lacks where another one follows that does not go on with it, for people."""
        return (
            f"a stream that another one follows fades out over its last {self.delay} samples at the model's rate; "
            "parts of one clip fit together without a seam"
        )

    def check(self, latents: int) -> None:
        """A stream may have any length."""

    def latents(self, samples: int, unit: int) -> int:
        """Latents of a clip of ``samples``, ``unit`` to a latent: as many as it takes until its last one is final."""
        return -(-(samples + self.delay) // unit)

    def longest(self, latents: int, unit: int) -> int:
        """The most samples of a clip of ``latents``: the inverse of ``latents``."""
        return latents * unit - self.delay


def coded_calls(
    blocks: Iterable[NDArray[np.float32]], layout: StreamLayout, unit: int
) -> Iterator[NDArray[np.float32]]:
    """Cut a stream of audio (C, n) at the model's rate into calls of whole tokens, in bounded memory.

    Silence follows the clip until its last sample is final.

    Args:
        blocks: The stream.
        layout: Of the model.
        unit: Samples of a token.
    """
    call = CALL_LATENTS * unit
    held: list[NDArray[np.float32]] = []
    waiting = samples = 0
    for block in blocks:
        held.append(block)
        waiting, samples = waiting + block.shape[1], samples + block.shape[1]
        if waiting >= call:
            audio = np.concatenate(held, axis=1)
            whole = waiting - waiting % call
            for start in range(0, whole, call):
                yield audio[:, start : start + call]
            held, waiting = [audio[:, whole:]], waiting - whole
    if samples:
        rest = np.concatenate(held, axis=1)
        audio = np.pad(rest, ((0, 0), (0, layout.latents(samples, unit) * unit - samples)))
        for start in range(0, audio.shape[1], call):
            yield audio[:, start : start + call]


def sounding_calls(blocks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
    """Cut a stream of codes (C, Q, n) into calls of bounded size, as few as its length needs."""
    held: list[NDArray[np.int16]] = []
    waiting = 0
    for block in blocks:
        held.append(block)
        waiting += block.shape[2]
        if waiting >= CALL_LATENTS:
            codes = np.concatenate(held, axis=2)
            whole = waiting - waiting % CALL_LATENTS
            for start in range(0, whole, CALL_LATENTS):
                yield codes[:, :, start : start + CALL_LATENTS]
            held, waiting = [codes[:, :, whole:]], waiting - whole
    if waiting:
        yield np.concatenate(held, axis=2)
