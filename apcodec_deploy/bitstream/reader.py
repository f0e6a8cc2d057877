"""Read a ``.apc`` file: check what it declares against its size, then any chunk by arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.chunk import Chunk
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.index import index_of
from apcodec_deploy.bitstream.seekable import SeekableFile
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.files import open_input


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
    with errors_named(name):
        yield BitstreamReader(file, salvage=salvage)


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Let every ``BitstreamError`` of the block name the file."""
    try:
        yield
    except BitstreamError as error:
        raise type(error)(f"{name}: {error}") from error


class BitstreamReader:
    """A ``.apc`` file, open for reading.

    Nothing is allocated that the file's own size does not bound: declared counts are compared with it first.

    Attributes:
        header: What the file says of its codes.
        gaps: What salvaging could not read, so far.
        size: Bytes of the file.
        chunk_count: Chunks in it.
    """

    def __init__(self, file: BinaryIO, *, salvage: bool = False) -> None:
        """Read and check the header; of a live file, walk through all its chunks.

        Args:
            file: Open for reading and able to seek; the ``.apc`` is all of it.
            salvage: Read a damaged file as far as it can be, with zeros for the codes of damaged chunks.

        Raises:
            BitstreamError: The header is damaged, or the file's size is not what it declares.
        """
        self._file = SeekableFile(file)
        self._salvage = salvage
        self._index = index_of(self._file, salvage=salvage)
        self.header = self._index.header
        self.gaps = list(self._index.gaps)
        self.size, self.chunk_count = self._file.size, len(self._index)

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
        for chunk in self._index.chunks(start, stop):
            try:
                codes = self._codes(chunk)
            except BitstreamError as error:
                if not self._salvage:
                    raise
                codes = chunk.silence(header)
                self.gaps.append(Gap(chunk.first, chunk.stop, str(error)))
            yield codes[:, :, max(start - chunk.first, 0) : stop - chunk.first]

    def _codes(self, chunk: Chunk) -> NDArray[np.int16]:
        if chunk.lost:
            raise BitstreamError(chunk.lost)
        size = self.header.chunk_bytes(chunk.latents)
        data = self._file.read(chunk.position, size)
        where = f"chunk {chunk.number} of {self.chunk_count} (byte {chunk.position})"
        if len(data) < size:
            raise BitstreamError(f"{where} is cut: {len(data)} of {size} bytes")
        try:
            return chunk.codes(data, self.header)
        except BitstreamError as error:
            raise BitstreamError(f"{where} is damaged: {error}") from error
