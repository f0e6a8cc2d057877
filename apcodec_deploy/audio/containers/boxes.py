"""MP4 and its relatives: boxes, of which a file has one set."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.errors import AudioError


def check_single(source: Source) -> None:
    """Refuse two such files in one, of which FFmpeg reads the first only; other kinds of files pass.

    Raises:
        AudioError: A second one follows.
    """
    at = movies = 0
    while (head := source.read(at, 16))[4:8].isalnum():
        if at == 0 and head[4:8] != b"ftyp":
            return
        movies += head[4:8] == b"moov"
        if movies > 1:
            raise AudioError(f"a second MP4 follows in the same file, before byte {at}; split it there, or join anew")
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # then 64 bits follow
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return
        at += size
