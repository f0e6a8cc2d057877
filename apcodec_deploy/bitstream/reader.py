"""Read a ``.apc`` file: check what it declares against its size, then any chunk by arithmetic."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resampled_length
from apcodec_deploy.bitstream.header import CHUNK_HEADER, HEADER_BYTES, TRAILER_BYTES, Header
from apcodec_deploy.bitstream.packing import unpack
from apcodec_deploy.bitstream.writer import chunk_crc
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.files import open_input


@dataclass(frozen=True, slots=True)
class Gap:
    """Latents ``start`` to ``stop`` that could not be read, and why.

    Those inside the clip decode to silence; those after its end are missing from it, and a clip of unknown length has
    an empty gap there.
    """

    start: int
    stop: int
    reason: str


def silenced(blocks: Iterable[NDArray[np.float32]], gaps: Sequence[Gap], unit: int) -> Iterator[NDArray[np.float32]]:
    """Zero the samples of the latents in ``gaps``: audio (C, n), ``unit`` samples a latent."""
    position = 0
    for block in blocks:
        for gap in gaps:
            start, stop = gap.start * unit - position, gap.stop * unit - position
            if start < block.shape[1] and stop > 0:
                block = block.copy()
                block[:, max(start, 0) : stop] = 0
        position += block.shape[1]
        yield block


@contextmanager
def open_codes(path: Path, *, salvage: bool = False) -> Iterator[BitstreamReader]:
    """Open a ``.apc`` file; every ``BitstreamError`` of the block names it.

    Raises:
        AudioError: It cannot be opened.
        BitstreamError: See ``BitstreamReader``.
    """
    with open_input(path) as file, named_codes(file, str(path), salvage=salvage) as reader:
        yield reader


@contextmanager
def named_codes(file: BinaryIO, name: str, *, salvage: bool = False) -> Iterator[BitstreamReader]:
    """Read a ``.apc`` file that is open; every ``BitstreamError`` of the block names it.

    Raises:
        BitstreamError: See ``BitstreamReader``.
    """
    try:
        yield BitstreamReader(file, salvage=salvage)
    except BitstreamError as error:
        raise type(error)(f"{name}: {error}") from error


class BitstreamReader:
    """A ``.apc`` file, open for reading.

    Nothing is allocated that the file's own size does not bound: declared counts are compared with it first.

    Attributes:
        header: What the file says of its codes.
        gaps: What salvaging could not read, so far.
    """

    def __init__(self, file: BinaryIO, *, salvage: bool = False) -> None:
        """Read and check the header.

        Args:
            file: Open for reading and able to seek; the ``.apc`` is all of it.
            salvage: Read a damaged file as far as it can be, with zeros for the codes of damaged chunks.

        Raises:
            BitstreamError: The header is damaged, or the file's size is not what it declares.
        """
        self._file = file
        self._salvage = salvage
        self._size = file.seek(0, 2)
        self.gaps: list[Gap] = []
        self.header = self._read_header()

    def _read_header(self) -> Header:
        header = Header.from_bytes(self._read(0, HEADER_BYTES))
        if header.trailer:
            header = self._complete(header)
        if self._size == header.file_bytes:
            return header
        if self._size > header.file_bytes:
            if self._salvage:
                return header
            surplus = self._size - header.file_bytes
            raise BitstreamError(f"{surplus} bytes follow the last chunk: two files in one, or a damaged header")
        if not self._salvage:
            raise BitstreamError(
                f"the file is cut: it has {self._size} of {header.file_bytes} bytes, {self._whole_chunks(header)} of "
                f"{header.chunks} chunks are whole; --salvage decodes those"
            )
        # What a cut file declares is not bounded by its size, so it is read as far as it goes.
        held = self._counted(header, self._held_latents(header))
        reason = f"the file is cut: {held.samples} of {header.samples} samples are left"
        self.gaps.append(Gap(held.latents, header.latents, reason))
        return held

    def _complete(self, header: Header) -> Header:
        """Take the counts of a streamed file from its trailer or, salvaging, from its size."""
        try:
            if self._size < HEADER_BYTES + TRAILER_BYTES:
                raise BitstreamError("the file was cut, or its writer was stopped: it has no trailer")
            return header.with_trailer(self._read(self._size - TRAILER_BYTES, TRAILER_BYTES))
        except BitstreamError:
            if not self._salvage:
                raise
        held = self._counted(replace(header, trailer=False), self._held_latents(header))
        reason = "the trailer is missing or damaged: the clip may have been longer"
        self.gaps.append(Gap(held.latents, held.latents, reason))
        return held

    def _counted(self, header: Header, latents: int) -> Header:
        """The header of the first ``latents`` of a clip."""
        if latents == 0:
            raise BitstreamError("the file is cut before its first whole chunk: nothing can be salvaged")
        most = latents * header.samples_per_latent - 1
        samples = resampled_length(most, header.model_rate, header.sample_rate)
        while resampled_length(samples, header.sample_rate, header.model_rate) > most:
            samples -= 1
        if header.samples:
            samples = min(samples, header.samples)
        return header.counted(max(samples, 1), latents)

    def _whole_chunks(self, header: Header) -> int:
        return max(self._size - HEADER_BYTES, 0) // header.full_chunk_bytes

    def _held_latents(self, header: Header) -> int:
        """Latents in the whole chunks of a cut file, and in a shorter last one if it says it is whole."""
        whole = self._whole_chunks(header)
        if whole and self._short_length(header, whole - 1):
            whole -= 1  # a short last chunk with a trailer behind it, which together are as long as a whole one
        position = HEADER_BYTES + whole * header.full_chunk_bytes
        latents = whole * header.chunk_latents
        if position + CHUNK_HEADER.size <= self._size:
            latents += self._short_length(header, whole)
        return latents

    def _short_length(self, header: Header, index: int) -> int:
        """Latents of a chunk that says it is the last, shorter one, and that ends where the file does; else 0."""
        position = HEADER_BYTES + index * header.full_chunk_bytes
        latents, length, _ = CHUNK_HEADER.unpack(self._read(position, CHUNK_HEADER.size))
        short = 0 < latents < header.chunk_latents
        if not short or length != header.chunk_bytes(latents) - CHUNK_HEADER.size:
            return 0
        return latents if 0 <= self._size - position - header.chunk_bytes(latents) <= TRAILER_BYTES else 0

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.int16]]:
        """Codes (C, Q, n) of the latents from ``start`` to ``stop``, chunk by chunk; nothing before is read.

        Raises:
            BitstreamError: A chunk is damaged, unless salvaging: then its codes are zero and ``gaps`` names it.
        """
        header = self.header
        stop = header.latents if stop is None else stop
        if not 0 <= start <= stop <= header.latents:
            raise BitstreamError(f"latents {start} to {stop} are asked for; the file has {header.latents}")
        if start == stop:
            return
        for index in range(start // header.chunk_latents, -(-stop // header.chunk_latents)):
            first = index * header.chunk_latents
            count = min(header.chunk_latents, header.latents - first)
            try:
                codes = self._chunk(index, count)
            except BitstreamError as error:
                if not self._salvage:
                    raise
                codes = np.zeros((header.channels, header.codebooks, count), np.int16)
                self.gaps.append(Gap(first, first + count, str(error)))
            yield codes[:, :, max(start - first, 0) : stop - first]

    def copy_to(self, file: BinaryIO) -> None:
        """Write the whole file, as it is, to another one."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)

    def _chunk(self, index: int, latents: int) -> NDArray[np.int16]:
        header = self.header
        position = HEADER_BYTES + index * header.full_chunk_bytes
        size = header.chunk_bytes(latents)
        data = self._read(position, size)
        where = f"chunk {index} of {header.chunks} (byte {position})"
        if len(data) < size:
            raise BitstreamError(f"{where} is cut: {len(data)} of {size} bytes")
        held, length, crc = CHUNK_HEADER.unpack_from(data)
        payload = data[CHUNK_HEADER.size :]
        if held != latents or length != len(payload):
            raise BitstreamError(
                f"{where} is damaged: it says {held} latents in {length} bytes, not {latents} in {len(payload)}"
            )
        if crc != chunk_crc(index, latents, payload):
            raise BitstreamError(f"{where} is damaged: its checksum does not match")
        try:
            codes = unpack(payload, header.channels, header.codebooks, header.bits_per_code)
            if codes[:, :, latents:].any():
                raise BitstreamError("the bits after the last code are not zero")
            return codes[:, :, :latents]
        except BitstreamError as error:
            raise BitstreamError(f"{where} is damaged: {error}") from error

    def _read(self, position: int, size: int) -> bytes:
        """Exactly ``size`` bytes, or what the file has; a read may give fewer at a time."""
        parts = []
        try:
            self._file.seek(position)
            while size > 0 and (part := self._file.read(size)):
                parts.append(part)
                size -= len(part)
        except OSError as error:
            raise BitstreamError(f"reading failed at byte {position}: {error.strerror or error}") from error
        return b"".join(parts)
