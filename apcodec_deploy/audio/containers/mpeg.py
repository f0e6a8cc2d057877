"""MPEG audio (MP1, MP2, MP3): frame after frame, which is the only way to know how much of it there is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache

from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import after_tags, after_zeros
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.errors import AudioError

_RATES = (44100, 48000, 32000)
# fmt: off
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# fmt: on
_DECODER_DELAY = 529
"""Samples by which a decoder is late, which the encoder's delay in a tag leaves out."""
_COUNT_SLACK = 2
"""Frames by which a tag's count may be off: some encoders count the tag, or not the last one."""
_SEARCHED = 1 << 16
"""Bytes before the first frame that may be something else."""
_LEAD = 32 * 1152
"""Samples before a place that a decoder needs to be right there: a frame may use 511 bytes of those before it."""
_ALIKE = 4
"""Frames that have to follow one another before they are believed to be MPEG audio."""


@dataclass(frozen=True, slots=True)
class _Frame:
    version: int  # 1; 2 also for MPEG 2.5
    layer: int
    sample_rate: int
    channels: int
    size: int
    samples: int
    protected: bool

    def continues(self, other: _Frame) -> bool:
        """Whether it can be of the same stream."""
        return (self.layer, self.sample_rate, self.channels) == (other.layer, other.sample_rate, other.channels)

    @property
    def side(self) -> int:
        """Where its side information begins (layer 3)."""
        return 6 if self.protected else 4


@dataclass(frozen=True, slots=True)
class _Tag:
    """What an encoder says in a first frame without sound."""

    frames: int | None
    skip: int
    padding: int


def first_frame(source: Source, start: int) -> int | None:
    """Where MPEG audio begins, at ``start`` or a little after it; None if it does not."""
    block = source.read(start, _SEARCHED)
    at = -1
    while (at := block.find(b"\xff", at + 1)) >= 0:
        if _stands(source, start + at):
            return start + at
    return None


def walk(source: Source, start: int) -> Generator[Part, None, int]:
    """The stream of frames that begins at ``start``, and then where it ends.

    Raises:
        AudioError: It was cut or damaged.
    """
    run = _Run(source, start)
    run.part = Part(View(source, run.pieces(), endless=True), skip=run.tag.skip if run.tag else 0, lead=_LEAD)
    yield run.part
    run.part.view.drain()
    return run.end


class _Run:
    """The frames of one stream, from its first to its last."""

    part: Part

    def __init__(self, source: Source, start: int) -> None:
        first = _frame_at(source, start)
        assert first is not None
        self.end = start
        self.tag = _tag_at(source, start, first)
        self._source = source
        self._first = first
        self._begin = start + first.size if self.tag else start

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Where its frames stand. The part's length is known before its last frame is given."""
        at: int | None = self._begin
        frame = _frame_at(self._source, self._begin)
        if frame is None or not frame.continues(self._first):
            at = None  # a tag, and nothing more
            self.end = self._begin
        count = samples = 0
        while at is not None and frame is not None:
            if not holds(self._source, at + frame.size - 1):
                raise AudioError(f"the file is cut: the MPEG frame at byte {at}, its last, is not whole")
            count += 1
            samples += frame.samples
            following = self._following(at + frame.size, count)
            if following is None:
                self._finish(count, samples, frame.samples)
            yield at, frame.size
            at, frame = following, None if following is None else _frame_at(self._source, following)
        if not count:
            self._finish(0, 0, 0)

    def _finish(self, count: int, samples: int, each: int) -> None:
        """Say how long it is, once that is known."""
        tag, part = self.tag, self.part
        if tag is not None and tag.frames is not None:
            if count + _COUNT_SLACK < tag.frames:
                raise AudioError(f"the file is cut: {count} of {tag.frames} MPEG frames are there")
            if count <= tag.frames:  # else what it says of the end is of another place
                samples = min(samples, tag.frames * each - tag.padding)
        part.samples = max(0, samples - part.skip)

    def _following(self, at: int, count: int) -> int | None:
        """Where the next frame stands after ``count`` of them; None where there is none, and ``end`` is known."""
        following = self._found(at)
        frame = None if following is None else _frame_at(self._source, following)
        if following is None or frame is None:
            return None
        self.end = following
        if not frame.continues(self._first) or _tag_at(self._source, following, frame) is not None:
            return None
        if self.tag is not None and self.tag.frames == count and _stands_alone(self._source, following, frame):
            return None
        return following

    def _found(self, at: int) -> int | None:
        """The next frame's place from ``at`` on."""
        self.end = at
        behind = after_zeros(self._source, after_tags(self._source, at))
        behind = after_tags(self._source, behind)
        for place in (at, behind):
            frame = _frame_at(self._source, place)
            if frame is not None and (frame.continues(self._first) or _stands(self._source, place)):
                return place
        if (later := first_frame(self._source, behind)) is None:
            return None
        raise AudioError(
            f"the file is damaged: {later - behind} bytes from byte {behind} on are no MPEG audio, and some follows"
        )


def _stands(source: Source, at: int) -> bool:
    """Whether frames of one stream follow one another from ``at`` on, enough of them or to the end of all.

    A lone head of a frame that is not whole is none: two bytes like it are in many files that are no audio.
    """
    first = frame = _frame_at(source, at)
    for count in range(_ALIKE - 1):
        if first is None or frame is None or not frame.continues(first):
            return False
        at += frame.size
        if not holds(source, at - 1):
            return count > 0
        if not holds(source, after_tags(source, at)):
            return True
        frame = _frame_at(source, at)
    return frame is not None and first is not None and frame.continues(first)


def _frame_at(source: Source, at: int) -> _Frame | None:
    """The frame whose head stands at ``at``."""
    head = source.read(at, 4)
    return _frame(head) if len(head) == 4 and head[0] == 0xFF else None


@lru_cache(4096)
def _frame(head: bytes) -> _Frame | None:
    version_code, layer_code = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate_code, bitrate_code, padding = head[2] >> 2 & 3, head[2] >> 4, head[2] >> 1 & 1
    if head[1] < 0xE0 or version_code == 1 or not layer_code or rate_code == 3 or bitrate_code in (0, 15):
        return None
    version, layer = 1 if version_code == 3 else 2, 4 - layer_code
    rate = _RATES[rate_code] >> {3: 0, 2: 1, 0: 2}[version_code]
    bits = 1000 * _KBITS[version, layer if version == 1 or layer == 1 else 2][bitrate_code - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and version == 2 else 1152
    size = (bits * 12 // rate + padding) * 4 if layer == 1 else bits * (samples // 8) // rate + padding
    return _Frame(version, layer, rate, 1 if head[3] >> 6 == 3 else 2, size, samples, not head[1] & 1)


def _tag_at(source: Source, at: int, frame: _Frame) -> _Tag | None:
    """What a frame without sound tells (Xing, Info, VBRI); None if it is a frame with sound."""
    if frame.layer != 3:
        return None
    data = source.read(at, frame.size)
    if data[36:40] == b"VBRI":
        return _Tag(int.from_bytes(data[50:54], "big"), 0, 0)
    size_of_side = (9, 17) if frame.version == 2 else (17, 32)
    place = 4 + size_of_side[frame.channels - 1]
    if data[place : place + 4] not in (b"Xing", b"Info"):
        place += 2  # of a checksum, which most encoders leave out here
        if data[place : place + 4] not in (b"Xing", b"Info"):
            return None
    flags = int.from_bytes(data[place + 4 : place + 8], "big")
    frames = int.from_bytes(data[place + 8 : place + 12], "big") if flags & 1 else None
    encoder = data[place + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2 :]
    if len(encoder) < 24 or not encoder[0]:
        return _Tag(frames, 0, 0)
    delays = int.from_bytes(encoder[21:24], "big")
    return _Tag(frames, (delays >> 12) + _DECODER_DELAY, max(0, (delays & 0xFFF) - _DECODER_DELAY))


def _stands_alone(source: Source, at: int, frame: _Frame) -> bool:
    """Whether a frame needs nothing of the frames before it, as the first one of a stream does not."""
    if frame.layer != 3:
        return True
    side = int.from_bytes(source.read(at + frame.side, 2), "big")
    return side >> 7 == 0 if frame.version == 1 else side >> 8 == 0
