"""One chunk of a ``.apc`` file: codes to bytes and back, and where it stands."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import CHUNK_HEADER, Header
from apcodec_deploy.bitstream.packing import pack, unpack
from apcodec_deploy.errors import BitstreamError

LAST = 1 << 31
"""Set in the first field of the last chunk of a live file, which its trailer follows without delay."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk stands, and what it holds.

    Attributes:
        number: Chunks before it.
        position: Its first byte in the file.
        first: Latents before it.
        latents: How many it holds.
        marked: It says that it is the last one, as that of a live file does.
        lost: Why it cannot be read, where that is known already.
    """

    number: int
    position: int
    first: int
    latents: int
    marked: bool = False
    lost: str = ""

    @property
    def stop(self) -> int:
        """Latents up to its end."""
        return self.first + self.latents

    def pack(self, codes: NDArray[np.integer], bits: int) -> bytes:
        """The bytes of the chunk with its codes (C, Q, n)."""
        payload = pack(codes, bits)
        field = self._field
        return CHUNK_HEADER.pack(field, len(payload), _checksum(self.number, field, payload)) + payload

    def check(self, data: bytes) -> None:
        """Hold the bytes of a chunk, as many as it has, against its place.

        Raises:
            BitstreamError: They are damaged, or another chunk's.
        """
        field, length, crc = CHUNK_HEADER.unpack_from(data)
        payload = data[CHUNK_HEADER.size :]
        if field != self._field or length != len(payload):
            held = f"{field & ~LAST} latents{' and the end' if field & LAST else ''} in {length} bytes"
            raise BitstreamError(f"it says {held}, not {self.latents} in {len(payload)}")
        if crc != _checksum(self.number, field, payload):
            raise BitstreamError("its checksum does not match")

    def codes(self, data: bytes, header: Header) -> NDArray[np.int16]:
        """The codes (C, Q, n) in its bytes.

        Raises:
            BitstreamError: They are damaged, or another chunk's.
        """
        self.check(data)
        codes = unpack(data[CHUNK_HEADER.size :], header.channels, header.codebooks, header.bits_per_code)
        if codes[:, :, self.latents :].any():
            raise BitstreamError("the bits after the last code are not zero")
        return codes[:, :, : self.latents]

    def silence(self, header: Header) -> NDArray[np.int16]:
        """What stands for its codes where they are lost."""
        return np.zeros((header.channels, header.codebooks, self.latents), np.int16)

    @property
    def _field(self) -> int:
        return self.latents | LAST * self.marked


def number_of(data: bytes, numbers: range) -> int | None:
    """Which chunk these bytes are, if they are a whole one of those numbers."""
    field, _, crc = CHUNK_HEADER.unpack_from(data)
    payload = data[CHUNK_HEADER.size :]
    return next((number for number in numbers if _checksum(number, field, payload) == crc), None)


def _checksum(number: int, field: int, payload: bytes) -> int:
    """The checksum of a chunk; the number in it tells a chunk that stands in another one's place."""
    return zlib.crc32(payload, zlib.crc32(CHUNK_HEADER.pack(number, field, len(payload))))
