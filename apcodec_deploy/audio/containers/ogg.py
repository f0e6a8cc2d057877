"""Ogg (RFC 3533): pages of one or several streams, and one such file after the other in the same file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from apcodec_deploy.audio.channels import from_vorbis
from apcodec_deploy.audio.containers import flac
from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import after_tags, after_zeros
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.errors import AudioError

_HEAD = struct.Struct("<4sBBQIIIB")
_FIRST, _LAST = 2, 4
_SOUNDS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC"}
_OTHERS = {b"Speex   ": "Speex", b"PCM     ": "PCM", b"CELT    ": "CELT", b"\x80theora": "Theora", b"OVP80": "VP8"}
"""What else Ogg is known to hold; libsndfile reads none of it."""
_FAR = 1 << 50
"""The number of a sample beyond all ends."""
_FLAC_LEAD = 9
"""Bytes of the first packet of FLAC in Ogg before what a FLAC file begins with."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class _Page:
    at: int
    body: int  # where its payload begins
    end: int
    flags: int
    granule: int
    serial: int
    number: int
    payload: bytes


def walk(source: Source, start: int) -> Generator[Part, None, int]:
    """The one stream of sound of the Ogg file that begins at ``start``, and then where it ends.

    Raises:
        AudioError: It holds no sound, several at once, or was cut or damaged.
    """
    page = _page_at(source, start)
    firsts = []
    while page is not None and page.flags & _FIRST:
        firsts.append(page)
        page = _page_at(source, page.end)
    sounds = [(first, name) for first in firsts if (name := _named(first, _SOUNDS))]
    if not firsts:
        raise AudioError("the file is cut: the first page of this Ogg is missing or not whole")
    if not sounds:
        others = " and ".join(name for first in firsts if (name := _named(first, _OTHERS))) or "no sound that is known"
        raise AudioError(
            f"this Ogg holds {others}; Vorbis, Opus and FLAC are read, so convert it: ffmpeg -i FILE a.flac"
        )
    if len(sounds) > 1:
        raise AudioError(
            f"this Ogg holds {len(sounds)} sounds at once; take one out: ffmpeg -i FILE -map 0:a:0 -c copy one.ogg"
        )
    first, name = sounds[0]
    link = _Link(source, first)
    if name == "FLAC":  # libsndfile does not read it in Ogg; what is in the pages is a FLAC as in a file of its own
        packets = link.packets(start) if source.size is None else list(link.packets(start))
        head = flac.with_total(first.payload[_FLAC_LEAD:][: flac.HEAD_BYTES], link.samples)
        view = View(source, packets, head=head)
    else:
        view = View(source, link.pages(start))
        view.tail = _page_of(first.serial, _LAST, _FAR, 1 << 30)
    part = Part(view, order=_order(first, name))
    yield part
    view.drain()
    return link.end


def _named(first: _Page, kinds: Mapping[bytes, str]) -> str | None:
    """The kind of stream that begins with a page, if it is one of these."""
    return next((name for magic, name in kinds.items() if first.payload.startswith(magic)), None)


class _Link:
    """The pages of one stream, from its first to its last."""

    def __init__(self, source: Source, first: _Page) -> None:
        self.end = first.at
        self.samples = 0  # up to the end of the last page, where that counts them from 0
        self._source = source
        self._first = first

    def pages(self, start: int) -> Iterator[tuple[int, int]]:
        """Where its pages stand."""
        return ((page.at, page.end - page.at) for page in self._walk(start))

    def packets(self, start: int) -> Iterator[tuple[int, int]]:
        """Where what is in its pages stands, but for the first."""
        return ((page.body, page.end - page.body) for page in self._walk(start) if page.at != self._first.at)

    def _walk(self, start: int) -> Iterator[_Page]:
        at, number, flags, begun = start, self._first.number, 0, False
        while page := self._next(at):
            if page.flags & _FIRST and begun:
                break  # another file
            begun = begun or not page.flags & _FIRST
            at = page.end
            if page.serial != self._first.serial:
                continue
            if flags & _LAST:
                raise AudioError(f"the Ogg at byte {page.at} goes on after its last page; remux it")
            if page.number != number:
                lost = page.number - number
                raise AudioError(f"the file is damaged: {lost} Ogg pages are missing before byte {page.at}")
            number, flags, self.samples = page.number + 1, page.flags, page.granule
            yield page
        if not flags & _LAST:
            raise AudioError("the file is cut: its last page is missing or not whole; copy it anew or remux it")
        self.end = at

    def _next(self, at: int) -> _Page | None:
        """The page at ``at``, or after tags and padding there; None where no page follows."""
        if page := _page_at(self._source, at):
            return page
        if page := _page_at(self._source, after_zeros(self._source, after_tags(self._source, at))):
            return page
        return None


def _page_at(source: Source, at: int) -> _Page | None:
    """The page at ``at``; None if none begins there, or is not whole at the file's end.

    Raises:
        AudioError: It is damaged.
    """
    head = source.read(at, 27 + 255)
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    _, _, flags, granule, serial, number, checksum, segments = _HEAD.unpack_from(head)
    body, lacing = at + 27 + segments, head[27 : 27 + segments]
    end = body + sum(lacing)
    if not holds(source, end - 1):
        return None
    data = source.read(at, end - at)
    if _checksum(data[:22] + bytes(4) + data[26:]) != checksum:
        raise AudioError(f"the file is damaged: the Ogg page at byte {at} does not match its checksum")
    return _Page(at, body, end, flags, granule, serial, number, data[body - at :])


def _checksum(data: bytes) -> int:
    """CRC-32 as Ogg has it: the usual polynomial, bits the other way round, from 0 and not inverted."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def _page_of(serial: int, flags: int, granule: int, number: int) -> bytes:
    """A page with an empty packet. It makes libsndfile believe in a far end where the real one is not known yet."""
    head = _HEAD.pack(b"OggS", 0, flags, granule, serial, number, 0, 1)
    return head[:22] + _checksum(head + b"\0").to_bytes(4, "little") + head[26:] + b"\0"


def _order(first: _Page, name: str) -> tuple[int, ...] | None:
    """Where the channels of WAV's order stand in a stream."""
    if name == "Vorbis":
        return from_vorbis(first.payload[11])
    if name == "Opus" and first.payload[18] == 1:  # in families 0 and 255 nothing is to be put in order
        return from_vorbis(first.payload[9])
    return None
