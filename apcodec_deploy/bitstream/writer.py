"""Write a ``.apc`` file while its codes are being made."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.chunk import Chunk
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.packing import check_range
from apcodec_deploy.errors import BitstreamError


class BitstreamWriter:
    """Writes codes as they come, in chunks of one size; ``finish`` writes the counts, which may be known only then.

    They go back into the header, or into a trailer where the file cannot seek.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        """Write the header.

        Args:
            file: Open for writing, at the position where the ``.apc`` starts.
            header: With ``trailer`` set if the file cannot seek.
        """
        self._file = file
        self._header = header.settled
        self._start = 0 if header.trailer else file.tell()
        self._pending = np.zeros((header.channels, header.codebooks, 0), np.int16)
        self._chunks = 0
        self._latents = 0
        file.write(self._header.to_bytes())

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
        if self._pending.shape[2]:
            self._write_chunk(self._pending)
        header = _finished(self._header, samples, self._latents)
        if header.trailer:
            self._file.write(header.trailer_bytes())
        else:
            end = self._file.tell()
            self._file.seek(self._start)
            self._file.write(header.to_bytes())
            self._file.seek(end)
        return header

    def _write_chunk(self, codes: NDArray[np.int16]) -> None:
        chunk = Chunk(self._chunks, 0, 0, codes.shape[2])
        self._file.write(chunk.pack(codes, self._header.bits_per_code))
        self._chunks += 1
        self._latents += codes.shape[2]


class LiveWriter:
    """Writes codes as soon as they come: each push of them is a chunk, which leaves at once."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        """Write the header.

        Args:
            file: Open for writing; nothing in it is sought.
            header: Of a live file.
        """
        self._file = file
        self._header = header
        self._chunks = 0
        self._latents = 0
        self._send(header.to_bytes())

    def write(self, codes: NDArray[np.integer]) -> None:
        """Append codes (C, Q, n), of which there must be more to come."""
        self._send(self._packed(codes, last=False))

    def finish(self, codes: NDArray[np.integer], samples: int) -> Header:
        """Append the last codes (C, Q, n), at least one latent of them, and the counts.

        Args:
            codes: What an encoder gives when its clip has ended.
            samples: Samples per channel at the source's rate.

        Returns:
            The header as it now stands.

        Raises:
            BitstreamError: The number of latents is not that of a clip of ``samples``.
        """
        if not codes.shape[2]:
            raise BitstreamError("a live stream cannot end without codes: its last chunk says that it is the last")
        rest = self._packed(codes, last=True)
        header = _finished(self._header, samples, self._latents)
        self._send(rest + header.trailer_bytes())
        return header

    def _packed(self, codes: NDArray[np.integer], *, last: bool) -> bytes:
        check_range(codes, self._header.bits_per_code)
        parts, latents, size = [], codes.shape[2], self._header.chunk_latents
        for start in range(0, latents, size):
            part = codes[:, :, start : start + size]
            marked = last and start + size >= latents
            chunk = Chunk(self._chunks, 0, self._latents, part.shape[2], marked)
            parts.append(chunk.pack(part, self._header.bits_per_code))
            self._chunks += 1
            self._latents += part.shape[2]
        return b"".join(parts)

    def _send(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


def _finished(header: Header, samples: int, latents: int) -> Header:
    if samples < 1:
        raise BitstreamError("a clip without samples cannot be written")
    return header.counted(samples, latents)
