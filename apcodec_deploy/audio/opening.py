"""Open an audio file with the reader for its kind."""

from __future__ import annotations

from pathlib import Path

from apcodec_deploy.audio.av_reader import AV_SUFFIXES, AvReader
from apcodec_deploy.audio.containers.kinds import kind_at
from apcodec_deploy.audio.containers.source import FileSource, Source
from apcodec_deploy.audio.reader import AUDIO_SUFFIXES, AudioReader
from apcodec_deploy.files import open_input

READABLE = AUDIO_SUFFIXES | AV_SUFFIXES
"""Endings of files that can hold audio."""


def open_audio(path: Path) -> AudioReader | AvReader:
    """Open an audio file; what it holds tells who reads it, and where that does not tell, what it is called.

    Phones and browsers write MP4 and WebM under any name, such as `recording.wav`.

    Raises:
        AudioError: It cannot be read, is no audio, is empty, or was cut.
        MissingDependencyError: It takes PyAV, which is not installed.
    """
    with open_input(path) as file:
        source = FileSource(file)
        named = path.suffix.lower() in AV_SUFFIXES
        taken = _is_av(source) or (named and kind_at(source, 0) is None)
    return AvReader(path) if taken else AudioReader(path)


def _is_av(source: Source) -> bool:
    """Whether a file begins as MP4, Matroska (which WebM is) or AAC in ADTS."""
    head = source.read(0, 12)
    if head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3":
        return True
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
