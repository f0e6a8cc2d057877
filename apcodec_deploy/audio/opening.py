"""Open an audio file with the reader for its kind."""

from __future__ import annotations

from pathlib import Path

from apcodec_deploy.audio.av_reader import AV_SUFFIXES, AvReader
from apcodec_deploy.audio.reader import AUDIO_SUFFIXES, AudioReader

READABLE = AUDIO_SUFFIXES | AV_SUFFIXES
"""Endings of files that can hold audio."""


def open_audio(path: Path) -> AudioReader | AvReader:
    """Open an audio file; what it is called tells who reads it.

    Raises:
        AudioError: It cannot be read, is no audio, is empty, or was cut.
        MissingDependencyError: It takes PyAV, which is not installed.
    """
    return AvReader(path) if path.suffix.lower() in AV_SUFFIXES else AudioReader(path)
