"""Files of chunks: where the audio stands in WAV, RF64, W64, AIFF, CAF and AU, and whether more chunks follow."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from apcodec_deploy.audio.containers.kinds import kind_at
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import after_tags
from apcodec_deploy.errors import AudioError

_UNKNOWN = 0xFFFFFFFF
_ENDLESS = 1 << 62
"""Sizes that say that nobody knew: the largest of 32 bits, and about the largest of 63 or 64."""
_FORM = "HH8xHH"
"""How a WAV says what its samples are: their kind, channels, bytes of one of all channels, bits of one."""
_PCM, _MPEG = 1, (0x50, 0x55)
_SHOWN = 1 << 16
"""Chunks before the audio up to this size are kept for libsndfile; larger ones are pictures, padding and the like."""
_AHEAD = 1 << 19
"""How far a pipe is looked ahead in to see whether a chunk stands there."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a kind of file writes its chunks.

    Attributes:
        first: Bytes before the first chunk.
        name: Bytes of a chunk's name, of which the first four are letters.
        size: How its size is written, for ``struct``.
        inclusive: Whether that counts the chunk's own head.
        align: Chunks begin at a multiple of this.
        audio: The name of the chunk with the audio.
        lead: Bytes at the start of that chunk which are no audio yet.
        form: The letters that the name of the chunk begins with that says how samples are stored.
    """

    first: int
    name: int
    size: str
    inclusive: bool
    align: int
    audio: bytes
    lead: int
    form: bytes

    @property
    def head(self) -> int:
        """Bytes of a chunk before what is in it."""
        return self.name + struct.calcsize(self.size)


GRAMMARS = {
    "WAV": Grammar(12, 4, "<I", False, 2, b"data", 0, b"fmt "),
    "RIFX": Grammar(12, 4, ">I", False, 2, b"data", 0, b"fmt "),
    "AIFF": Grammar(12, 4, ">I", False, 2, b"SSND", 8, b"COMM"),
    "W64": Grammar(40, 16, "<Q", True, 8, b"data", 0, b"fmt "),
    "CAF": Grammar(8, 4, ">Q", False, 1, b"data", 4, b"desc"),
}


@dataclass(frozen=True, slots=True)
class Audio:
    """Where the audio of a file stands, by the file's own account.

    Attributes:
        origin: Where the file begins.
        head: What stands before the audio, as far as libsndfile needs it.
        start: The audio's first byte.
        declared: Its bytes; None where the file says that nobody knew.
        size: How the field with its size is written, for ``struct``; that has 32 or 64 bits.
        size_at: Where that stands in ``head``.
        counted: What that counts besides the audio.
        grammar: Of the chunks around it; None where there are none.
        loose: Whether each sample has 24 bits in 4 bytes, of which nothing says which three count.
        mpeg: Whether the audio is that of an MP3, frame after frame.
    """

    origin: int
    head: bytes
    start: int
    declared: int | None
    size: str
    size_at: int
    counted: int = 0
    grammar: Grammar | None = None
    loose: bool = False
    mpeg: bool = False

    def head_for(self, size: int) -> bytes:
        """The head with another size of the audio."""
        field = struct.pack(self.size, size + self.counted)
        return self.head[: self.size_at] + field + self.head[self.size_at + len(field) :]

    @property
    def most(self) -> int:
        """The most bytes of audio that its size can say."""
        return (1 << 8 * struct.calcsize(self.size)) - 1 - self.counted


@dataclass(frozen=True, slots=True)
class _Chunk:
    at: int
    name: bytes
    size: int  # of what is in it
    head: int

    @property
    def end(self) -> int:
        return self.at + self.head + self.size


def find_audio(source: Source, start: int, kind: str) -> Audio:
    """The audio of the file of a kind that begins at ``start``.

    Raises:
        AudioError: It has none.
    """
    if kind == "AU":
        return _audio_of_au(source, start)
    grammar = GRAMMARS[kind]
    head = source.read(start, grammar.first)
    at, wide = start + grammar.first, None
    form: tuple[int, ...] = (0, 0, 0, 0)
    described = b""
    while chunk := _chunk_at(source, at, grammar):
        if chunk.name == grammar.audio:
            stored, channels, align, bits = form
            loose = (stored, bits, align) == (_PCM, 24, 4 * channels)
            audio = _audio_in(source, start, head, chunk, grammar, wide)
            return replace(audio, loose=loose, mpeg=stored in _MPEG)
        content = source.read(chunk.at, chunk.head + chunk.size) if chunk.size <= _SHOWN else b""
        if chunk.name == b"ds64":  # RF64 keeps its sizes of 64 bits here; without it, it is a WAV
            wide, head = int.from_bytes(content[16:24], "little"), b"RIFF" + head[4:]
        elif len(content) == chunk.head + chunk.size:
            if chunk.name[:4] == grammar.form:
                # Of two that are alike, libsndfile minds the second in a WAV alone.
                if described and (content != described or kind in ("WAV", "RIFX")):
                    name = grammar.form.decode().strip()
                    raise AudioError(f"two chunks '{name}' say how its samples are stored; write it anew with one")
                described = content
            if chunk.name == b"fmt " and chunk.size >= struct.calcsize(_FORM):
                form = struct.unpack_from(grammar.size[0] + _FORM, content, chunk.head)
            head += content + bytes(-len(content) % grammar.align)
        at = _next(source, chunk.end, start, grammar)
    raise AudioError("it has no chunk with audio; the file is cut, or was never finished")


def after_chunks(source: Source, audio: Audio, end: int) -> int | None:
    """Where what belongs to the file ends, if audio that ends at ``end`` is followed by nothing but chunks and tags.

    That is the end of all, or where another audio file begins. None if something else stands there.

    Raises:
        AudioError: A second chunk of audio follows.
    """
    grammar = audio.grammar
    at = end if grammar is None else _next(source, end, audio.origin, grammar)
    while True:
        at = after_tags(source, at)
        if kind_at(source, at):
            return at
        rest = source.read(at, grammar.head if grammar else 1)
        if not rest.strip(b"\0") and not holds(source, at + len(rest)) and len(rest) < 8:
            return at + len(rest)
        chunk = None if grammar is None else _chunk_at(source, at, grammar)
        if grammar is None or chunk is None or chunk.size < 0:
            return None
        if (source.size is None and chunk.size > _AHEAD) or not holds(source, chunk.end - 1):
            return None
        if chunk.name == grammar.audio:
            raise AudioError(f"a second chunk of audio follows at byte {at}; only files with one can be read")
        at = _next(source, chunk.end, audio.origin, grammar)


def _audio_in(source: Source, start: int, head: bytes, chunk: _Chunk, grammar: Grammar, wide: int | None) -> Audio:
    begin = chunk.at + chunk.head
    lead = grammar.lead
    if grammar.audio == b"SSND":  # its first field says how far behind both fields the audio begins
        lead += int.from_bytes(source.read(begin, 4), "big")
    size = chunk.size
    declared: int | None = max(0, size - lead)
    unsigned = size + (grammar.head if grammar.inclusive else 0)
    if wide is not None and _is_unknown(unsigned):
        declared = None if wide == 0 or _is_unknown(wide) else wide
    elif _is_unknown(unsigned):
        declared = None
    return Audio(
        origin=start,
        head=head + source.read(chunk.at, chunk.head + lead),
        start=begin + lead,
        declared=declared,
        size=grammar.size,
        size_at=len(head) + grammar.name,
        counted=lead + (grammar.head if grammar.inclusive else 0),
        grammar=grammar,
    )


def _audio_of_au(source: Source, start: int) -> Audio:
    head = source.read(start, 24)
    if len(head) < 24:
        raise AudioError("the file is cut within its header")
    order = ">" if head[:4] == b".snd" else "<"
    offset, declared = struct.unpack_from(order + "II", head, 4)
    return Audio(
        origin=start,
        head=source.read(start, offset),
        start=start + offset,
        declared=None if _is_unknown(declared) else declared,
        size=order + "I",
        size_at=8,
    )


def _is_unknown(size: int) -> bool:
    return size == _UNKNOWN or size >= _ENDLESS


def _chunk_at(source: Source, at: int, grammar: Grammar) -> _Chunk | None:
    """The chunk whose head stands at ``at``; None if that is none."""
    head = source.read(at, grammar.head)
    name = head[:4]
    if len(head) < grammar.head or not all(0x20 <= letter < 0x7F for letter in name):
        return None
    (size,) = struct.unpack_from(grammar.size, head, grammar.name)
    return _Chunk(at, name, size - (grammar.head if grammar.inclusive else 0), grammar.head)


def _next(source: Source, end: int, origin: int, grammar: Grammar) -> int:
    """Where the chunk after one that ends at ``end`` begins. Some programs leave out the padding before it."""
    padded = end + -(end - origin) % grammar.align
    for place in (padded, end, end + grammar.align - 1):
        if _chunk_at(source, place, grammar) is not None:
            return place
    return padded
