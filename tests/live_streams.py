"""Live streams for the tests of the bitstream: as they are sent, and what comes of them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from apc_files import CHUNK, HEADER, Codes

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.parser import Arrival, StreamParser
from apcodec_deploy.bitstream.writer import LiveWriter

UNIT, DELAY = 320, 280
COLUMN = 10
"""Bytes of a latent of two channels."""
PUSHES = [1, 3, 2, 1, 5]
SIZES = [CHUNK + COLUMN * push for push in PUSHES]


def longest(latents: int) -> int:
    return latents * UNIT - DELAY


class Sent(io.BytesIO):
    """Remembers what was written at a time, and flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.waiting = b""

    def write(self, data: Any) -> int:
        self.waiting += bytes(data)
        return super().write(data)

    def flush(self) -> None:
        if self.waiting:
            self.messages.append(self.waiting)
        self.waiting = b""


def sent(header: Header, codes: Codes, pushes: Sequence[int]) -> list[bytes]:
    """The messages of a live stream; the last push ends it."""
    file = Sent()
    writer = LiveWriter(file, header)
    borders = list(itertools.accumulate(pushes, initial=0))
    for start, stop in itertools.pairwise(borders[:-1]):
        writer.write(codes[:, :, start:stop])
    writer.finish(codes[:, :, borders[-2] :], longest(codes.shape[2]))
    assert not file.waiting
    return file.messages


def joined(arrivals: Sequence[Arrival]) -> Codes:
    return np.concatenate([arrival.codes for arrival in arrivals], axis=2)


def parsed(data: bytes, cuts: Sequence[int] = (), *, salvage: bool = False) -> tuple[list[Arrival], StreamParser]:
    """What comes of a stream that is fed in pieces."""
    parser = StreamParser(salvage=salvage)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    arrivals: list[Arrival] = []
    for start, stop in itertools.pairwise(borders):
        arrivals += parser.feed(data[start:stop])
    return [*arrivals, *parser.close()], parser


def damaged(messages: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    data = b"".join(messages)
    for position, mask in itertools.product(range(HEADER, len(data)), (1, 0x80, 0xFF)):
        changed = bytearray(data)
        changed[position] ^= mask
        yield position, bytes(changed)
