"""Read audio files block by block, and notice what libsndfile passes over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.audio.span import Span, cut
from apcodec_deploy.errors import AudioError
from apcodec_deploy.files import open_input

BLOCK_SECONDS = 1.0
# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave",
))
# fmt: on
_SIZE_IN_LOG = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""How libsndfile's log says that a chunk declares more bytes than the file holds."""
_STREAMED = 0x7FFF0000
"""Sizes from here on are what programs write that do not know a WAV's length yet, not lengths."""
_STREAMED_FRAMES = _STREAMED // 8
"""Lengths from here on need not be meant in a WAV from a pipe: as many frames of two channels of 32 bits."""
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile's length of a file that does not say it is larger than this."""
_OGG_PAGE_BYTES = 65_307
_MP3_SLACK = 2 * 1152
"""Frames by which an MP3's declared length may be off."""


class _Unseekable(soundfile.SoundFile):  # type: ignore[misc]
    """A file that does not say how long it is, such as a FLAC from a pipe: it can be read on, but not sought in."""

    def seekable(self) -> bool:
        return False


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
        raw = open_input(path)
        self._raw: BinaryIO | None = raw
        try:
            self._file = soundfile.SoundFile(raw)
            if self._file.frames >= _UNKNOWN_FRAMES:
                raw.seek(0)
                self._file = _Unseekable(raw)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raw.close()
            size = path.stat().st_size
            reason = "it is empty" if not size else str(error).rsplit(": ", 1)[-1].rstrip(".")
            raise AudioError(f"{path} is no audio that can be read: {reason}") from error
        try:
            self.sample_rate = check_rate(self._file.samplerate)
            self.channels: int = self._file.channels
            self._check_whole(raw)
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
        if self._raw is not None:
            self._raw.close()

    @property
    def declared_samples(self) -> int | None:
        """Samples of each channel that the file says it has; None where it does not say."""
        frames: int = self._file.frames
        return frames if self._file.seekable() and frames < _STREAMED_FRAMES else None

    @classmethod
    def of_stream(cls, descriptor: int, name: str) -> AudioReader:
        """Audio from a pipe, such as WAV from ffmpeg, which need not say how long it is.

        Args:
            descriptor: Of the open pipe; it stays open.
            name: What errors call it.

        Raises:
            AudioError: It is no audio, or of a kind that cannot be read from a pipe.
        """
        reader = cls.__new__(cls)
        reader.path, reader._raw = Path(name), None
        try:
            reader._file = soundfile.SoundFile(descriptor, closefd=False)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = str(error).rsplit(": ", 1)[-1].rstrip(".")
            raise AudioError(
                f"{name} gives no audio that can be read from a pipe ({reason}); wav and ogg can: ffmpeg ... -f wav -"
            ) from error
        reader.sample_rate, reader.channels = check_rate(reader._file.samplerate), reader._file.channels
        return reader

    def blocks(self, span: Span | None = None) -> Iterator[NDArray[np.float32]]:
        """The audio, or a part of it, in blocks of a second: (C, n) float32, full scale at 1.

        Raises:
            AudioError: The file is damaged, cut or too short for the part, holds no samples, or one that is not finite.
        """
        if span is None:
            yield from self._blocks()
            return
        first, stop = span.samples(self.sample_rate)
        try:
            begun = first if self._file.seekable() and first < self._file.frames else 0
            if begun:
                self._file.seek(begun)
            yield from cut(self._blocks(), first, stop, at=begun)
        except soundfile.SoundFileError as error:
            raise AudioError(f"{self.path} is damaged: {span.start:g} s cannot be found in it") from error
        except AudioError as error:
            named = str(self.path) in str(error)
            raise error if named else AudioError(f"{self.path}: {error}") from None

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        """From where the file stands to its end."""
        size = max(1, int(self.sample_rate * BLOCK_SECONDS))
        position = start = self._file.tell() if self._file.seekable() else 0
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
            audio = np.ascontiguousarray(block.T)
            try:
                check_samples(audio, position)
            except AudioError as error:
                raise AudioError(f"{self.path}: {error}") from None
            position += len(block)
            yield audio
        if position == start:
            raise AudioError(f"{self.path} holds no samples")
        slack = _MP3_SLACK if self._file.format == "MP3" else 0
        unknown = _STREAMED_FRAMES if self._raw is None else _UNKNOWN_FRAMES
        if position + slack < self._file.frames < unknown:
            raise AudioError(f"{self.path} is cut: {position} of {self._file.frames} samples are there")

    def _check_whole(self, raw: BinaryIO) -> None:
        """Refuse a file that was cut, which libsndfile reads as a shorter one and at best mentions in its log."""
        if match := _SIZE_IN_LOG.search(self._file.extra_info):
            declared, held = int(match[1]), int(match[2])
            if held < declared < _STREAMED:
                raise AudioError(f"the file is cut: it declares {declared} bytes of audio and holds {held}")
        if self._file.format == "OGG" and not self._last_page_is_whole(raw):
            raise AudioError("the file is cut: its last page is missing or not whole; copy it anew or remux it")

    @staticmethod
    def _last_page_is_whole(raw: BinaryIO) -> bool:
        """Whether the last page of an OGG is whole and says that it is the last (RFC 3533, section 6)."""
        position = raw.tell()
        size = raw.seek(0, 2)
        raw.seek(max(0, size - 2 * _OGG_PAGE_BYTES))
        tail = raw.read()
        raw.seek(position)
        page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
        if len(page) < 27:
            return False
        flags, segments = page[5], page[26]
        lacing = page[27 : 27 + segments]
        return bool(flags & 4) and len(lacing) == segments and len(page) >= 27 + segments + sum(lacing)
