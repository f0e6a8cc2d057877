"""libsndfile on one part of a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.samples import SAMPLE_BYTES
from apcodec_deploy.errors import AudioError

_UNKNOWN = 1 << 40
"""Lengths from here on are libsndfile's for a file that does not say it, or that has no end yet."""
_FRAGMENTS_PER_SECOND = 100
"""How much of what is compressed is asked for at a time where it is to be given as it comes."""


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
        if part.strange and self._file.format == "MP3":  # of which libsndfile would guess the length
            self.close()
            raise AudioError(
                "this MPEG audio does not tell its own length: its bitrate is free, or much else stands before it; "
                "convert it to WAV first"
            )
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

    def blocks(self, size: int, *, first: int = 0, arriving: bool = False) -> Iterator[NDArray[np.float32]]:
        """Samples (C, n) from ``first`` on, at most ``size`` at a time, channels in WAV's order.

        Where its length is not known, it can be read once and from its start only.

        Args:
            size: Samples of a block.
            first: Where to begin.
            arriving: Never wait for a whole block, but give what has come.

        Raises:
            soundfile.SoundFileError: libsndfile finds it damaged, or cannot read it.
            AudioError: It is damaged, or ends before it should.
        """
        part, position = self._part, first
        before = first + part.skip
        if first:
            self._file.seek(max(0, before - part.lead))
            before = min(before, part.lead)
        if before:
            self._read(before)
        while (block := self._next(position, self._arrived(size) if arriving else size)).shape[1]:
            position += block.shape[1]
            yield block if part.order is None else block[list(part.order)]
        expected = part.declared or self.samples or 0
        if position < expected:
            raise AudioError(f"the file is cut: {position} of {expected} samples are there")

    def _arrived(self, size: int) -> int:
        """Samples that have come, at least one, of which libsndfile may be asked for without waiting."""
        if (raw := self._part.raw) is None:  # only libsndfile knows where a sample ends
            return max(1, min(size, self.sample_rate // _FRAGMENTS_PER_SECOND))
        frame = self.channels * SAMPLE_BYTES[raw.subtype]
        return max(1, min(size, self._part.view.ready(frame) // frame))

    def _next(self, position: int, size: int) -> NDArray[np.float32]:
        """What follows a sample, at most so much; nothing at the end."""
        part = self._part
        declared, known = part.declared or 0, self.samples
        if position < declared:
            size = min(size, declared - position)
        if known is not None:
            size = min(size, max(0, known - position))
        try:
            block = self._read(size)
        except soundfile.SoundFileError:
            if not 0 < declared <= position:
                raise
            return np.zeros((self.channels, 0), np.float32)  # all that was declared is there, and no sound follows
        return block if part.samples is None else block[:, : max(0, part.samples - position)]

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
