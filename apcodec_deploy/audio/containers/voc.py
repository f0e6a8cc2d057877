"""VOC of the Sound Blaster: libsndfile reads one block of sound, and may take what follows for samples."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.errors import AudioError

MAGIC = b"Creative Voice File\x1a"
_SOUND, _NOTES = (b"\x01", b"\x09"), (b"\x04", b"\x05", b"\x08")
"""Block types: of a sound, and what may stand before one: a mark, a text, and what an old sound's head lacks."""
_WRAP = 1 << 24
"""Sizes have 24 bits; those of longer sounds ran over."""
_MOST_NOTES = 1000


def check_voc(source: Source, at: int) -> None:
    """Refuse a file that is not one block of sound up to its end.

    Args:
        source: The file.
        at: Where it begins.

    Raises:
        AudioError: It begins with something else, or more follows the sound.
    """
    block = at + int.from_bytes(source.read(at + len(MAGIC), 2), "little")
    for _ in range(_MOST_NOTES):
        head = source.read(block, 4)
        size = int.from_bytes(head[1:], "little")
        if head[:1] not in _NOTES:
            break
        block += 4 + size
    rest = source.reached - block - 4
    # The last block has one byte more, which some leave out; and a size of 0 was never filled in.
    if head[:1] in _SOUND and (size == 0 or (rest - size) % _WRAP in (0, 1)):
        return
    raise AudioError(
        "this VOC is not one block of sound up to its end: it is cut, or silence, repeats, notes or more sound stand "
        "around it; convert it first, such as with SoX"
    )
