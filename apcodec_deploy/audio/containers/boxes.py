"""MP4 and its relatives: boxes, of which a file has one set."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.errors import AudioError


def check_boxes(source: Source) -> None:
    """Refuse what FFmpeg would read a part of, or would not say what is wrong with; other kinds of files pass.

    Raises:
        AudioError: A second file follows in the same one, or the index is missing.
    """
    at = movies = 0
    kind = source.read(4, 4)
    while kind == b"ftyp" and (head := source.read(at, 16))[4:8].isalnum():
        movies += head[4:8] == b"moov"
        if movies > 1:
            raise AudioError(f"a second MP4 follows in the same file, before byte {at}; split it there, or join anew")
        if head[4:8] == b"meta":  # a picture
            return
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # then 64 bits follow
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            break
        at += size
    if kind == b"ftyp" and not movies:
        raise AudioError(
            "the file is cut: its index (the box 'moov') is missing; copy it anew, or repair the recording"
        )
