"""Find the chunks in the bytes of a ``.apc`` stream as they come, and where they go on after damage.

What is lost is counted where the bytes tell: a chunk with a damaged payload still says how much it held. Where its own
header is damaged, the next whole chunk is looked for; its checksum covers its number, so it proves its place.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from apcodec_deploy.bitstream.chunk import LAST, Chunk, number_of
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.header import CHUNK_HEADER, HEADER_BYTES, TRAILER_BYTES, TRAILER_MAGIC, Header
from apcodec_deploy.errors import BitstreamError

_MOST_LATE, _MOST_LOST = 64, 1024
"""Chunks that one may come late by, and that may be missing in a row."""
_EFFORT = 1 << 31
"""Bytes that are checksummed in such searches, at most: a few seconds' work."""


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk and its bytes; none where it is lost."""

    chunk: Chunk
    data: bytes


Step = Found | Header
"""A chunk, or the header with its counts, which is the end."""
_Steps = Generator[Step | None, None, None]
"""Those, and None where more bytes are needed."""


class Scanner:
    """Takes bytes as they come.

    Attributes:
        header: None before it is there; with its counts once the end is.
        gaps: What is lost, where salvaging.
        ended: Whether the end has been found.
    """

    def __init__(self, *, salvage: bool = False) -> None:
        self.header: Header | None = None
        self.gaps: list[Gap] = []
        self.ended = False
        self._salvage = salvage
        self._held = bytearray()
        self._position = 0  # of what is held
        self._closed = False
        self._number = self._first = 0  # of the next chunk
        self._last = False  # whether the chunk before was the last one
        self._effort = 0
        self._steps = self._scan()

    def feed(self, data: bytes) -> Iterator[Step]:
        """The chunks that are complete with these bytes; what is right comes before an error is raised.

        Raises:
            BitstreamError: It is no ``.apc`` stream, or it is damaged, unless salvaging.
        """
        self._held += data
        return self._found()

    def close(self) -> Iterator[Step]:
        """What is still to be said when no more bytes come.

        Raises:
            BitstreamError: It was cut, unless salvaging.
        """
        self._closed = True
        return self._found()

    def _found(self) -> Iterator[Step]:
        while (step := next(self._steps, None)) is not None:
            yield step

    def _scan(self) -> _Steps:
        yield from self._until(HEADER_BYTES)
        header = self.header = Header.from_bytes(bytes(self._held[:HEADER_BYTES]))
        self._take(HEADER_BYTES)
        while not self.ended:
            try:
                yield from self._step(header)
            except BitstreamError as error:
                if not self._salvage:
                    raise
                yield from self._recover(header, error)
        yield self.header
        while not self._closed or self._held:
            if self._held and not self._salvage:
                raise BitstreamError(
                    f"more follows the last chunk, from byte {self._position} on: two files in one, or a damaged header"
                )
            self._held.clear()
            yield None

    def _step(self, header: Header) -> _Steps:
        """The next chunk, or the end."""
        if header.complete and self._first == header.latents:
            self._end(header)
            return
        yield from self._until(CHUNK_HEADER.size)
        if header.trailer and self._held.startswith(TRAILER_MAGIC):
            yield from self._until(TRAILER_BYTES)
            self._end_with(self._trailer(header, 0))
            return
        chunk = self._chunk(header, 0)
        size = header.chunk_bytes(chunk.latents)
        yield from self._until(size)
        if len(self._held) < size:
            raise self._cut(header)
        try:
            if self._last:
                raise BitstreamError("it follows the last one")
            chunk.check(bytes(self._held[:size]))
        except BitstreamError as error:
            raise BitstreamError(f"chunk {chunk.number} (byte {chunk.position}) is damaged: {error}") from None
        yield self._taken(chunk, size)

    def _recover(self, header: Header, error: BitstreamError) -> _Steps:
        """Go on behind what is damaged, or end there."""
        offset = 0
        while True:
            yield from self._until(offset + CHUNK_HEADER.size)
            if len(self._held) < offset + CHUNK_HEADER.size:
                self._end_early(header, str(error))
                return
            if header.trailer and self._held.startswith(TRAILER_MAGIC, offset):
                yield from self._until(offset + TRAILER_BYTES)
                with suppress(BitstreamError):
                    completed = self._trailer(header, offset)
                    if 0 <= (lost := completed.latents - self._first) <= 8 * offset // _column(header):
                        yield from self._lose(header, error, offset, latents=lost)
                        self._end_with(completed)
                    else:
                        self._end_early(header, f"{error}; the trailer counts {completed.latents} latents")
                    return
            with suppress(BitstreamError):
                chunk = self._chunk(header, offset)
                size = header.chunk_bytes(chunk.latents)
                yield from self._until(offset + size)
                data = bytes(self._held[offset : offset + size])
                number = self._number_of(data) if len(data) == size else None
                if number is not None:
                    chunks = max(0, number - self._number)
                    lost = 8 * max(0, offset - chunks * CHUNK_HEADER.size) // _column(header)
                    latents = min(lost, chunks * header.chunk_latents)
                    yield from self._lose(header, error, offset, latents=latents)
                    if number >= self._number:
                        yield self._taken(replace(chunk, number=number, first=self._first), size)
                    else:  # it comes again, or late: what stands for it has been handed on
                        self._take(size)
                    return
                if offset == 0 and len(data) == size:  # it fits in its place, so only its codes are lost
                    yield from self._lose(header, error, size, latents=chunk.latents)
                    self._number += 1
                    return
            offset += 1

    def _number_of(self, data: bytes) -> int | None:
        """Which chunk of those around these bytes are, if they are whole."""
        numbers = range(max(0, self._number - _MOST_LATE), self._number + _MOST_LOST)
        self._effort += len(data) * len(numbers)
        return number_of(data, numbers) if self._effort < _EFFORT else None

    def _lose(self, header: Header, error: BitstreamError, size: int, *, latents: int) -> _Steps:
        """Count bytes as lost, which held so many latents."""
        if header.complete:
            latents = min(latents, header.latents - self._first)
        chunk = Chunk(self._number, self._position, self._first, latents, lost=str(error))
        self.gaps.append(Gap(chunk.first, chunk.stop, chunk.lost))
        self._take(size)
        self._first = chunk.stop
        if latents:
            yield Found(chunk, b"")

    def _taken(self, chunk: Chunk, size: int) -> Found:
        """A whole chunk that stands at the start of what is held."""
        data = bytes(self._held[:size])
        self._take(size)
        assert self.header is not None
        self._number, self._first = chunk.number + 1, chunk.stop
        self._last = chunk.marked or (not self.header.live and chunk.latents < self.header.chunk_latents)
        return Found(chunk, data)

    def _chunk(self, header: Header, offset: int) -> Chunk:
        """What the bytes at an offset say of their chunk.

        Raises:
            BitstreamError: They are none of a chunk.
        """
        if len(self._held) < offset + CHUNK_HEADER.size:
            raise self._cut(header)
        field, length, _ = CHUNK_HEADER.unpack_from(self._held, offset)
        marked = header.live and bool(field & LAST)
        latents = field & ~LAST if marked else field
        fits = 0 < latents <= header.chunk_latents
        if header.complete:
            fits = latents == min(header.chunk_latents, header.latents - self._first)
        if not fits or length != header.chunk_bytes(latents) - CHUNK_HEADER.size:
            raise BitstreamError(
                f"chunk {self._number} (byte {self._position + offset}) is damaged: it says {latents} latents in "
                f"{length} bytes"
            )
        return Chunk(self._number, self._position + offset, self._first, latents, marked)

    def _trailer(self, header: Header, offset: int) -> Header:
        if len(self._held) < offset + TRAILER_BYTES:
            raise self._cut(header)
        return header.with_trailer(bytes(self._held[offset : offset + TRAILER_BYTES]))

    def _cut(self, header: Header) -> BitstreamError:
        there = f"it ends after {self._first} latents"
        missing = f" of {header.latents}" if header.complete else ", without a trailer"
        return BitstreamError(f"the file was cut, or its writer was stopped: {there}{missing}")

    def _end_with(self, completed: Header) -> None:
        """End where the trailer stands at the start of what is held."""
        if completed.latents != self._first:
            raise BitstreamError(f"the trailer counts {completed.latents} latents, and {self._first} came before it")
        if completed.live and not self._last and not self.gaps:
            raise BitstreamError("the trailer follows a chunk that is not the last one")
        self._take(TRAILER_BYTES)
        self._end(completed)

    def _end_early(self, header: Header, reason: str) -> None:
        """End with what was there.

        Raises:
            BitstreamError: Nothing was.
        """
        held = header.filled(self._first)
        self.gaps.append(Gap(held.latents, max(held.latents, header.latents), reason))
        self._held.clear()
        self._end(held)

    def _end(self, header: Header) -> None:
        self.header, self.ended = header, True

    def _until(self, size: int) -> _Steps:
        """Wait for so many bytes, or for the end of all."""
        while len(self._held) < size and not self._closed:
            yield None

    def _take(self, size: int) -> None:
        del self._held[:size]
        self._position += size


def _column(header: Header) -> int:
    """Bits of one latent of all channels."""
    return header.channels * header.codebooks * header.bits_per_code
