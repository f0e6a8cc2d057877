"""Codes out of the bytes of a ``.apc`` stream, as they come: for pipes and sockets, where nothing can be sought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.scan import Scanner, Step


@dataclass(frozen=True, slots=True)
class Arrival:
    """Codes that have come.

    Attributes:
        codes: (C, Q, n) int16, which follow those before.
        samples: With the last codes, samples per channel of the whole clip at the source's rate; else None.
    """

    codes: NDArray[np.int16]
    samples: int | None = None


class StreamParser:
    """Takes bytes in any pieces and gives codes as soon as a chunk is whole.

    The last latent always comes with the number of samples, so that whoever decodes knows where to stop. Of a live
    stream nothing is held back for that. Of others, whose chunks do not say whether they are the last, one latent is.
    """

    def __init__(self, *, salvage: bool = False) -> None:
        """Wait for the header.

        Args:
            salvage: Go on after damage, with zeros for the codes that are lost.
        """
        self._scanner = Scanner(salvage=salvage)
        self._held: NDArray[np.int16] | None = None

    @property
    def header(self) -> Header | None:
        """What the stream says of its codes: None before that has come, with its counts once the end has."""
        return self._scanner.header

    @property
    def gaps(self) -> list[Gap]:
        """What was lost so far, where salvaging. A gap is there before its codes are given."""
        return self._scanner.gaps

    @property
    def ended(self) -> bool:
        """Whether the last codes have been given."""
        return self._scanner.ended

    def feed(self, data: bytes) -> Iterator[Arrival]:
        """The codes that are complete with these bytes; those that are right come before an error is raised.

        Raises:
            BitstreamError: It is no ``.apc`` stream, or it is damaged, unless salvaging.
        """
        return self._arrivals(self._scanner.feed(data))

    def close(self) -> Iterator[Arrival]:
        """What is left when no more bytes come.

        Raises:
            BitstreamError: It was cut, unless salvaging.
        """
        return self._arrivals(self._scanner.close())

    def _arrivals(self, steps: Iterable[Step]) -> Iterator[Arrival]:
        for step in steps:
            if isinstance(step, Header):
                none = np.zeros((step.channels, step.codebooks, 0), np.int16)
                yield Arrival(none if self._held is None else self._held, step.samples)
                continue
            header, chunk = self.header, step.chunk
            assert header is not None
            codes = chunk.silence(header) if chunk.lost else chunk.codes(step.data, header)
            if self._held is not None:
                codes = np.concatenate((self._held, codes), axis=2)
            given = codes.shape[2] - (not header.live or chunk.marked)
            self._held = codes[:, :, given:] if given < codes.shape[2] else None
            if given:
                yield Arrival(codes[:, :, :given])
