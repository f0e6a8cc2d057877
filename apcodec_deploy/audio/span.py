"""A part of a file, in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file.

    Attributes:
        start: Seconds from the file's start.
        end: Seconds from the file's start; None for the file's end.
    """

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        numbers = [self.start] if self.end is None else [self.start, self.end]
        if not all(math.isfinite(number) for number in numbers) or self.start < 0:
            raise AudioError(f"a part from {self.start} s to {self.end} s; seconds from 0 on are expected")
        if self.end is not None and self.end <= self.start:
            raise AudioError(f"a part from {self.start:g} s to {self.end:g} s has no length")

    def samples(self, sample_rate: int) -> tuple[int, int | None]:
        """Its first sample and the one after its last; None for the file's end."""
        return round(self.start * sample_rate), None if self.end is None else round(self.end * sample_rate)

    def __str__(self) -> str:
        return f"{self.start:.3f}-{'end' if self.end is None else f'{self.end:.3f}'}"


def cut(
    blocks: Iterable[NDArray[np.float32]], first: int, stop: int | None, *, at: int = 0
) -> Iterator[NDArray[np.float32]]:
    """The samples from ``first`` to ``stop`` of blocks (C, n) that begin at sample ``at``.

    Raises:
        AudioError: The blocks end before.
    """
    position = at
    for block in blocks:
        length = block.shape[1]
        part = block[:, max(0, first - position) : None if stop is None else max(0, stop - position)]
        position += length
        if part.shape[1]:
            yield part
        if stop is not None and position >= stop:
            return
    if position <= first or stop is not None:
        raise AudioError(f"the file has {position} samples; the part is from {first} to {stop or 'its end'}")
