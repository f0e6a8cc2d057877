"""What players' tags and padding look like, which may stand before, between and after audio."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source, holds

_LYRICS_ROOM = 1 << 16


def after_tags(source: Source, at: int) -> int:
    """The first byte from ``at`` on that is in no tag (ID3v1, ID3v2, APE, Lyrics3)."""
    while size := _tag_size(source.read(at, 32), source, at):
        at += size
    return at


def after_zeros(source: Source, at: int) -> int:
    """The first byte from ``at`` on that is not 0."""
    while block := source.read(at, 1 << 16):
        if rest := block.lstrip(b"\0"):
            return at + len(block) - len(rest)
        at += len(block)
    return at


def before_tags(source: Source, start: int, end: int) -> int:
    """Where the tags begin that stand at the end of ``start`` to ``end``; ``end`` if there are none."""
    while end - start > 160:
        footer = source.read(end - 32, 32)
        if footer[:8] == b"APETAGEX" and (size := int.from_bytes(footer[12:16], "little")) <= end - start:
            headed = source.read(max(start, end - size - 32), 8) == b"APETAGEX"
            end -= size + 32 * headed
        elif source.read(end - 128, 3) == b"TAG":
            end -= 128
        else:
            break
    return end


def _tag_size(head: bytes, source: Source, at: int) -> int:
    """The size of a tag that begins with ``head``; 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and 0xFF not in head[3:5] and all(byte < 0x80 for byte in head[6:10]):
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + 10 * bool(head[5] & 0x10)
    if head[:4] == b"TAG+":
        return 227
    if head[:3] == b"TAG":
        return 128 if holds(source, at + 127) else 0
    if head[:8] == b"APETAGEX" and len(head) == 32:
        starts_with_header = int.from_bytes(head[20:24], "little") >> 29 & 1
        return 32 + (int.from_bytes(head[12:16], "little") if starts_with_header else 0)
    if head[:11] == b"LYRICSBEGIN":
        text = source.read(at, _LYRICS_ROOM)
        ends = [found + 9 for end in (b"LYRICSEND", b"LYRICS200") if (found := text.find(end)) > 0]
        return min(ends, default=0)
    return 0
