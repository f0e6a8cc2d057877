"""Write a ``.apc`` file while its codes are being made."""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import CHUNK_HEADER, Header
from apcodec_deploy.bitstream.packing import check_range, pack
from apcodec_deploy.errors import BitstreamError


def chunk_crc(index: int, latents: int, payload: bytes) -> int:
    """The checksum of a chunk; the index in it tells a chunk that stands in another one's place."""
    return zlib.crc32(payload, zlib.crc32(CHUNK_HEADER.pack(index, latents, len(payload))))


class BitstreamWriter:
    """Writes codes as they come; ``finish`` writes the counts, which may be known only then.

    They go back into the header, or into a trailer where the file cannot seek.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        """Write the header.

        Args:
            file: Open for writing, at the position where the ``.apc`` starts.
            header: With ``trailer`` set if the file cannot seek.
        """
        self._file = file
        self._header = header
        self._start = 0 if header.trailer else file.tell()
        self._pending = np.zeros((header.channels, header.codebooks, 0), np.int16)
        self._chunks = 0
        self._latents = 0
        file.write(header.to_bytes())

    def write(self, codes: NDArray[np.integer]) -> None:
        """Append codes (C, Q, n)."""
        check_range(codes, self._header.bits_per_code)
        self._pending = np.concatenate((self._pending, codes.astype(np.int16)), axis=2)
        size = self._header.chunk_latents
        while self._pending.shape[2] >= size:
            self._write_chunk(self._pending[:, :, :size])
            self._pending = self._pending[:, :, size:]

    def finish(self, samples: int) -> Header:
        """Write what is left and the counts.

        Args:
            samples: Samples per channel at the source's rate.

        Returns:
            The header as it now stands.

        Raises:
            BitstreamError: The number of latents is not that of a clip of ``samples``.
        """
        if samples < 1:
            raise BitstreamError("a clip without samples cannot be written")
        if self._pending.shape[2]:
            self._write_chunk(self._pending)
        header = self._header.counted(samples, self._latents)
        if header.trailer:
            self._file.write(header.trailer_bytes())
        else:
            end = self._file.tell()
            self._file.seek(self._start)
            self._file.write(header.to_bytes())
            self._file.seek(end)
        return header

    def _write_chunk(self, codes: NDArray[np.int16]) -> None:
        latents = codes.shape[2]
        payload = pack(codes, self._header.bits_per_code)
        self._file.write(CHUNK_HEADER.pack(latents, len(payload), chunk_crc(self._chunks, latents, payload)))
        self._file.write(payload)
        self._chunks += 1
        self._latents += latents
