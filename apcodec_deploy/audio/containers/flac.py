"""FLAC (RFC 9639): whether the length that it declares is that of its frames, and another one behind it."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from apcodec_deploy.audio.containers.kinds import kind_at
from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import after_tags, before_tags
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.errors import AudioError

HEAD_BYTES = 42
"""The magic and STREAMINFO with its own head, which come first."""
_TOTAL_BITS = 36
_BEGINNING = re.compile(rb"fLaC[\0\x80]\0\0\x22|ID3[\x02-\x04]\0.[\0-\x7f]{4}", re.DOTALL)
_OVERLAP = 10
"""Bytes of a beginning, which may stand across the end of a block."""
_BLOCK = 1 << 16
_TAG_ROOM = 4096
"""Bytes that are held back from a pipe, since they may be a tag at its end."""
_FRAME_ROOM = 1 << 17
"""Bytes at the end among which the last frame's head is looked for."""


def walk(source: Source, start: int) -> Generator[Part, None, int]:
    """The FLAC that begins at ``start``, and then where it ends.

    Raises:
        AudioError: It was cut.
    """
    head = source.read(start, HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        raise AudioError("the file is cut within its header")
    frames = start + HEAD_BYTES
    declared, held = total(head), None
    if source.size is None:
        passing = _Passing(source, frames)
        view = View(source, passing.pieces(), head=with_total(head, 0))
        yield Part(view, declared=declared)
        view.drain()
        return passing.end
    end = before_tags(source, start, source.size)
    settled = declared > 0 and _last_sample(source, frames, end, head) == declared
    if not settled:
        end = before_tags(source, start, _end(source, frames))
        held = _last_sample(source, frames, end, head)
        if held is not None and held < declared:
            raise AudioError(f"the file is cut: {held} of {declared} samples are there")
    view = View(source, [(frames, end - frames)], head=with_total(head, declared if settled else held or 0))
    yield Part(view, declared=declared, settled=settled)
    return _end(source, frames)


def total(head: bytes) -> int:
    """Samples that the first ``HEAD_BYTES`` of a FLAC declare; 0 where they do not say."""
    return int.from_bytes(head[18:26], "big") % (1 << _TOTAL_BITS)


def with_total(head: bytes, samples: int) -> bytes:
    """The first bytes of a FLAC with another number of samples; libFLAC reads through to the end where that is 0."""
    packed = int.from_bytes(head[18:26], "big") >> _TOTAL_BITS << _TOTAL_BITS
    return head[:18] + (packed | samples).to_bytes(8, "big") + head[26:]


class _Passing:
    """The frames of a FLAC in a pipe.

    Attributes:
        end: Where what follows begins, once all of them have passed.
    """

    def __init__(self, source: Source, start: int) -> None:
        self.end = start
        self._source = source

    def pieces(self) -> Iterator[tuple[int, int]]:
        """All up to the next FLAC, or to the end and the tags there, block by block."""
        source, size = self._source, _BLOCK + _TAG_ROOM
        while True:
            at = self.end
            block = source.read(at, size)
            following = _next(source, at, block)
            if following is not None:
                self.end = following
            elif len(block) < size:
                self.end = before_tags(source, at, at + len(block))
            else:
                self.end = at + _BLOCK
            yield at, self.end - at
            if following is not None or len(block) < size:
                return


def _end(source: Source, at: int) -> int:
    """Where the next FLAC begins, with the tags in front of it, or the end of all."""
    while block := source.read(at, _BLOCK + _OVERLAP):
        following = _next(source, at, block)
        if following is not None:
            return following
        at += min(len(block), _BLOCK)
    return at


def _next(source: Source, at: int, block: bytes) -> int | None:
    """Where in a block that begins at ``at`` another FLAC begins, or a tag in front of it or of the end."""
    for found in _BEGINNING.finditer(block):
        place = at + found.start()
        behind = after_tags(source, place)
        if kind_at(source, behind) == "FLAC" or (behind > place and not holds(source, behind)):
            return place
    return None


def _last_sample(source: Source, start: int, end: int, head: bytes) -> int | None:
    """The number of samples up to the end of the last frame that begins before ``end``, by that frame's own head."""
    largest = int.from_bytes(head[15:18], "big")
    first = max(start, end - max(_FRAME_ROOM, 2 * largest))
    tail = source.read(first, end - first)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] in (b"\xf8", b"\xf9") and (sample := _sample_after(tail[at : at + 16], head)):
            return sample
    return None


def _sample_after(frame: bytes, head: bytes) -> int | None:
    """The number of samples up to the end of a frame, by its head; None if that is none (RFC 9639, section 9.1)."""
    if len(frame) < 16:
        frame = frame.ljust(16, b"\0")
    channels, bits = (head[20] >> 1 & 7) + 1, ((head[20] & 1) << 4 | head[21] >> 4) + 1
    size_code, rate_code, assignment = frame[2] >> 4, frame[2] & 15, frame[3] >> 4
    known_bits = {0: bits, 1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}.get(frame[3] >> 1 & 7)
    if not size_code or rate_code == 15 or known_bits != bits or frame[3] & 1:
        return None
    if assignment + 1 != channels and not (channels == 2 and 8 <= assignment <= 10):
        return None
    ones = 8 - (~frame[4] & 0xFF).bit_length()  # the number is coded as in UTF-8
    length = ones or 1
    if ones in (1, 8):
        return None
    number = frame[4] & (0x7F if not ones else 0x7F >> ones)
    for byte in frame[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at = 4 + length
    if size_code in (6, 7):
        wide = size_code - 5
        size = int.from_bytes(frame[at : at + wide], "big") + 1
        at += wide
    else:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= 16 or _crc8(frame[:at]) != frame[at]:
        return None
    variable = frame[1] & 1
    return number + size if variable else number * int.from_bytes(head[8:10], "big") + size


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
