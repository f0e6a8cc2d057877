"""Read audio files block by block, and notice what libsndfile passes over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.errors import AudioError
from apcodec_deploy.files import open_input

BLOCK_SECONDS = 1.0
# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave",
))
# fmt: on
_STREAMED = 0x7FFFFFFF
"""Sizes from here on are what programs write that do not know a WAV's length yet, not lengths."""
_MP3_SLACK = 2 * 1152
"""Frames by which an MP3's declared length may be off."""


class AudioReader:
    """An audio file, open for reading.

    Attributes:
        path: The file.
        sample_rate: Hz.
        channels: Channels.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            AudioError: It cannot be read, is no audio, is empty, or was cut.
        """
        self.path = path
        # Opened by us, so that a missing file and one that is no audio read differently.
        self._raw = open_input(path)
        try:
            self._file = soundfile.SoundFile(self._raw)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            self._raw.close()
            size = path.stat().st_size
            reason = "it is empty" if not size else str(error).rsplit(": ", 1)[-1].rstrip(".")
            raise AudioError(f"{path} is no audio that can be read: {reason}") from error
        try:
            self.sample_rate = check_rate(self._file.samplerate)
            self.channels: int = self._file.channels
            self._check_whole()
        except AudioError as error:
            self.close()
            raise AudioError(f"{path}: {error}") from None

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The audio in blocks of a second: (C, n) float32, full scale at 1.

        Raises:
            AudioError: The file is damaged or cut, holds no samples, or one that is not finite.
        """
        size = max(1, int(self.sample_rate * BLOCK_SECONDS))
        position = 0
        while True:
            try:
                block = self._file.read(size, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, OSError) as error:
                reason = str(error).removeprefix("Error : ").rstrip(".")
                raise AudioError(
                    f"{self.path} is damaged after {position / self.sample_rate:.2f} s: {reason}"
                ) from error
            if not len(block):
                break
            if not (finite := np.isfinite(block)).all():
                frame, channel = np.argwhere(~finite)[0]
                raise AudioError(
                    f"{self.path}: sample {position + frame} of channel {channel} is {block[frame, channel]}; "
                    "every sample must be a number"
                )
            position += len(block)
            yield np.ascontiguousarray(block.T)
        if not position:
            raise AudioError(f"{self.path} holds no samples")
        slack = _MP3_SLACK if self._file.format == "MP3" else 0
        if position + slack < self._file.frames:
            raise AudioError(f"{self.path} is cut: {position} of {self._file.frames} samples are there")

    def _check_whole(self) -> None:
        """Refuse a cut WAV or OGG, which libsndfile reads as a shorter file and mentions only in its log."""
        log = self._file.extra_info
        if match := re.search(r"^(?:data|SSND) *: (\d+) \(should be (\d+)\)", log, re.MULTILINE):
            declared, held = int(match[1]), int(match[2])
            if held < declared < _STREAMED:
                raise AudioError(f"the file is cut: it declares {declared} bytes of audio and holds {held}")
        if "File ended unexpectedly without an End-Of-Stream" in log:
            raise AudioError("the file is cut: its last page is missing")
