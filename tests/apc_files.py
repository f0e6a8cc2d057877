"""Files of codes for the tests of the bitstream: their sizes, codes to write, and a reader of all codes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.reader import BitstreamReader

HEADER, CHUNK, TRAILER = 56, 12, 20

Codes = NDArray[np.int16]
WriteApc = Callable[..., bytes]


def random_codes(channels: int, latents: int, codebooks: int = 4, bits: int = 10, seed: int = 0) -> Codes:
    """Codes without a pattern that a swap could leave as it was; none of them is 0, which salvaging fills gaps with."""
    return np.random.default_rng(seed).integers(1, 2**bits, (channels, codebooks, latents)).astype(np.int16)


def read(data: bytes, *, salvage: bool = False) -> tuple[Codes, BitstreamReader]:
    """All codes of a file, and its reader."""
    reader = BitstreamReader(io.BytesIO(data), salvage=salvage)
    return np.concatenate(list(reader.chunks()), axis=2), reader
