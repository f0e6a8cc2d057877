"""VOC of the Sound Blaster: libsndfile reads the first block of sound and takes the heads of others for samples."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.errors import AudioError

MAGIC = b"Creative Voice File\x1a"
_END, _NOTES = 0, (4, 5, 8)
"""Block types: the last one, and those that stand beside a sound: marks, text, and what a sound's head lacks."""


def check_voc(source: Source, at: int) -> None:
    """Refuse a file that is not one block of sound.

    Args:
        source: The file.
        at: Where it begins.

    Raises:
        AudioError: It has several blocks, or silence or repeats between them.
    """
    block, found = at + int.from_bytes(source.read(at + len(MAGIC), 2), "little"), 0
    while len(head := source.read(block, 4)) == 4 and head[0] != _END:
        found += head[0] not in _NOTES
        block += 4 + int.from_bytes(head[1:], "little")
    if found > 1:
        raise AudioError(
            f"this VOC has {found} blocks of sound, silence or repeats, and only one can be read; "
            "convert it first, such as with SoX"
        )
