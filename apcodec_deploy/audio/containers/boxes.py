"""MP4 and its relatives: boxes, of which a file has one set."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.errors import AudioError


def check_boxes(source: Source) -> None:
    """Refuse what FFmpeg would read a part of, or would not say what is wrong with; other kinds of files pass.

    Raises:
        AudioError: A second file follows in the same one, or the index is missing.
    """
    if source.read(4, 4) != b"ftyp":
        return
    at = movies = 0
    while len(head := source.read(at, 16)) >= 8:
        name, size = head[4:8], int.from_bytes(head[:4], "big")
        if not name.isalnum() or name == b"meta":  # what FFmpeg may know, or a picture
            return
        movies += name == b"moov"
        if movies > 1:
            raise AudioError(f"a second MP4 follows in the same file, before byte {at}; split it there, or join anew")
        if size == 1:  # then 64 bits follow
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # the last one
            break
        at += size
    if not movies:
        raise AudioError(
            "the file is cut: its index (the box 'moov') is missing; copy it anew, or repair the recording"
        )
