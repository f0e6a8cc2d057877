"""Where the chunks of a ``.apc`` file stand: by arithmetic where they have one size, else by a walk through them.

Either holds what the file declares against its size before anything is allocated.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from apcodec_deploy.bitstream.chunk import Chunk
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.header import CHUNK_HEADER, HEADER_BYTES, TRAILER_BYTES, Header
from apcodec_deploy.bitstream.scan import Found, Scanner, Step
from apcodec_deploy.bitstream.seekable import SeekableFile
from apcodec_deploy.errors import BitstreamError

_BLOCK = 1 << 16


class Index(Protocol):
    """The chunks of one file.

    Attributes:
        header: With the counts of what can be read.
        gaps: What is missing at its end, where salvaging.
    """

    header: Header
    gaps: list[Gap]

    def __len__(self) -> int:
        """How many chunks there are."""
        ...

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """Those that hold the latents from ``start`` to ``stop``, of which there is at least one."""
        ...


def index_of(file: SeekableFile, *, salvage: bool) -> Index:
    """The index of a file.

    Raises:
        BitstreamError: Its header is damaged, or its size is not what it declares; a live file: anything is damaged.
    """
    header = Header.from_bytes(file.read(0, HEADER_BYTES))
    return WalkedIndex(file, salvage=salvage) if header.live else FixedIndex(file, header, salvage=salvage)


def fixed_bytes(header: Header) -> int:
    """Bytes of a whole file whose chunks have one size."""
    full, rest = divmod(header.latents, header.chunk_latents)
    tail = header.chunk_bytes(rest) if rest else 0
    return HEADER_BYTES + full * header.chunk_bytes(header.chunk_latents) + tail + TRAILER_BYTES * header.trailer


class FixedIndex:
    """Chunks of one size, but for the last one. See ``Index``."""

    def __init__(self, file: SeekableFile, header: Header, *, salvage: bool) -> None:
        self.gaps: list[Gap] = []
        self._file = file
        self._whole_bytes = header.chunk_bytes(header.chunk_latents)
        self.header = self._held(self._completed(header, salvage=salvage), salvage=salvage)

    def __len__(self) -> int:
        return -(-self.header.latents // self.header.chunk_latents)

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        size = self.header.chunk_latents
        for number in range(start // size, -(-stop // size)):
            first = number * size
            position = HEADER_BYTES + number * self._whole_bytes
            yield Chunk(number, position, first, min(size, self.header.latents - first))

    def _completed(self, header: Header, *, salvage: bool) -> Header:
        """Take the counts of a streamed file from its trailer or, salvaging, from its size."""
        if not header.trailer:
            return header
        size = self._file.size
        try:
            if size < HEADER_BYTES + TRAILER_BYTES:
                raise BitstreamError("the file was cut, or its writer was stopped: it has no trailer")
            return header.with_trailer(self._file.read(size - TRAILER_BYTES, TRAILER_BYTES))
        except BitstreamError:
            if not salvage:
                raise
        held = replace(header, trailer=False).filled(self._held_latents(header))
        reason = "the trailer is missing or damaged: the clip may have been longer"
        self.gaps.append(Gap(held.latents, held.latents, reason))
        return held

    def _held(self, header: Header, *, salvage: bool) -> Header:
        """The header of what the file has room for."""
        size, declared = self._file.size, fixed_bytes(header)
        if size == declared or (size > declared and salvage):
            return header
        if size > declared:
            raise BitstreamError(
                f"{size - declared} bytes follow the last chunk: two files in one, or a damaged header"
            )
        if not salvage:
            whole, chunks = self._whole_chunks(), -(-header.latents // header.chunk_latents)
            advice = "--salvage decodes those" if whole else "there is nothing to salvage"
            raise BitstreamError(
                f"the file is cut: it has {size} of {declared} bytes, {whole} of {chunks} chunks are whole; {advice}"
            )
        # What a cut file declares is not bounded by its size, so it is read as far as it goes.
        held = header.filled(self._held_latents(header))
        reason = f"the file is cut: {held.samples} of {header.samples} samples are left"
        self.gaps.append(Gap(held.latents, header.latents, reason))
        return held

    def _whole_chunks(self) -> int:
        return max(self._file.size - HEADER_BYTES, 0) // self._whole_bytes

    def _held_latents(self, header: Header) -> int:
        """Latents in the whole chunks of a cut file, and in a shorter last one if it says it is whole."""
        whole = self._whole_chunks()
        if whole and self._short_length(header, whole - 1):
            whole -= 1  # a short last chunk with a trailer behind it, which together are as long as a whole one
        latents = whole * header.chunk_latents
        if HEADER_BYTES + whole * self._whole_bytes + CHUNK_HEADER.size <= self._file.size:
            latents += self._short_length(header, whole)
        return latents

    def _short_length(self, header: Header, number: int) -> int:
        """Latents of a chunk that says it is the last, shorter one, and that ends where the file does; else 0."""
        position = HEADER_BYTES + number * self._whole_bytes
        latents, length, _ = CHUNK_HEADER.unpack(self._file.read(position, CHUNK_HEADER.size))
        short = 0 < latents < header.chunk_latents
        if not short or length != header.chunk_bytes(latents) - CHUNK_HEADER.size:
            return 0
        return latents if 0 <= self._file.size - position - header.chunk_bytes(latents) <= TRAILER_BYTES else 0


class WalkedIndex:
    """Chunks of any size, found one after the other and kept as numbers. See ``Index``."""

    def __init__(self, file: SeekableFile, *, salvage: bool) -> None:
        self._numbers, self._positions, self._firsts = array("Q"), array("Q"), array("Q")
        self._lost: dict[int, str] = {}
        self._marked = -1
        scanner = Scanner(salvage=salvage)
        for position in range(0, file.size, _BLOCK):
            self._keep(scanner.feed(file.read(position, _BLOCK)))
        self._keep(scanner.close())
        assert scanner.header is not None, "a scanner that is closed has raised, or found the end"
        self.header = scanner.header
        self.gaps = [gap for gap in scanner.gaps if gap.start == gap.stop or gap.stop > self.header.latents]

    def __len__(self) -> int:
        return len(self._firsts)

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        for index in range(bisect_right(self._firsts, start) - 1, bisect_left(self._firsts, stop)):
            first = self._firsts[index]
            end = self._firsts[index + 1] if index + 1 < len(self) else self.header.latents
            lost = self._lost.get(index, "")
            yield Chunk(self._numbers[index], self._positions[index], first, end - first, index == self._marked, lost)

    def _keep(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Found):
                chunk = step.chunk
                if chunk.lost:
                    self._lost[len(self)] = chunk.lost
                if chunk.marked:
                    self._marked = len(self)
                self._numbers.append(chunk.number)
                self._positions.append(chunk.position)
                self._firsts.append(chunk.first)
