"""libsndfile on one part of a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.errors import AudioError

_UNKNOWN = 1 << 40
"""Lengths from here on are libsndfile's for a file that does not say it, or that has no end yet."""


class Decoder:
    """A part of a file, open for reading.

    Attributes:
        sample_rate: Hz.
        channels: Channels.
    """

    def __init__(self, part: Part) -> None:
        """Open a part.

        Raises:
            soundfile.SoundFileError: libsndfile cannot read it.
            AudioError: It is damaged.
        """
        self._part = part
        part.view.seek(0)
        self._file = _opened(part)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels

    def close(self) -> None:
        """Close it."""
        self._file.close()

    @property
    def samples(self) -> int | None:
        """Samples of each channel; None as long as nobody knows."""
        if self._part.samples is not None:
            return self._part.samples
        frames: int = self._file.frames
        return frames if frames < _UNKNOWN else None

    def blocks(self, size: int, *, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """Samples (C, n) from ``first`` on, at most ``size`` at a time, channels in WAV's order.

        Where its length is not known, it can be read once and from its start only.

        Raises:
            soundfile.SoundFileError: libsndfile finds it damaged, or cannot read it.
            AudioError: It is damaged, or ends before it should.
        """
        part, position = self._part, first
        if first:
            self._file.seek(first + part.skip)
        elif part.skip:
            self._read(part.skip)
        while (block := self._read(size)).shape[1]:
            if part.samples is not None:
                block = block[:, : max(0, part.samples - position)]
            position += block.shape[1]
            if block.shape[1]:
                yield block if part.order is None else block[list(part.order)]
        expected = part.declared or self.samples or 0
        if position < expected:
            raise AudioError(f"the file is cut: {position} of {expected} samples are there")

    def _read(self, size: int) -> NDArray[np.float32]:
        try:
            return np.asarray(self._file.read(size, dtype="float32", always_2d=True).T)
        finally:
            _raise_failure(self._part)


class _Straight(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read straight on: soundfile would seek to where it stands after every block."""

    def seekable(self) -> bool:
        return False


def _opened(part: Part) -> soundfile.SoundFile:
    try:
        if (raw := part.raw) is None:
            return _Straight(part.view)
        form = {"format": "RAW", "subtype": raw.subtype, "endian": raw.endian}
        return _Straight(part.view, "r", raw.sample_rate, raw.channels, **form)
    finally:
        _raise_failure(part)


def _raise_failure(part: Part) -> None:
    if (failure := part.view.failure) is not None:
        raise failure
