"""Read through PyAV, an optional package, what libsndfile does not know: m4a, aac, and the sound of mp4 and webm."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.blocks import regrouped
from apcodec_deploy.audio.containers.boxes import check_boxes
from apcodec_deploy.audio.containers.source import FileSource
from apcodec_deploy.audio.reader import BLOCK_SECONDS, changed
from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.audio.span import Span, cut
from apcodec_deploy.disguise import HEAD_BYTES, disguise
from apcodec_deploy.errors import AudioError, require
from apcodec_deploy.files import open_input

AV_SUFFIXES = frozenset((".aac", ".m4a", ".m4b", ".mka", ".mp4", ".webm"))
_SLACK_SECONDS = 0.2
"""By which a container's declared duration may be off: it counts what encoders put before and after."""


class AvReader:
    """The first sound of a file, open for reading. See ``AudioReader``.

    Attributes:
        path: The file.
        sample_rate: Hz.
        channels: Channels.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            AudioError: It cannot be read, or holds no sound.
            MissingDependencyError: PyAV is not installed.
        """
        self.path = path
        self._av: Any = require("av", extra="av")
        self._closed = False
        self._raw = open_input(path)
        try:
            source = FileSource(self._raw)
            if reason := disguise(source.read(0, HEAD_BYTES)):
                raise AudioError(reason)
            check_boxes(source)
            self._raw.seek(0)
            self._container = self._av.open(self._raw)
            stream = next(iter(self._container.streams.audio), None)
            if stream is None:
                raise AudioError("it holds no sound")
            self._stream = stream
            self.sample_rate = check_rate(stream.codec_context.sample_rate)
            self.channels = int(stream.codec_context.layout.nb_channels)
        except (self._av.FFmpegError, AudioError, ValueError, OSError) as error:
            self._raw.close()
            if isinstance(error, AudioError):
                raise self._named(error) from error
            raise AudioError(f"{path} cannot be read as audio: {_reason(error)}") from error

    def __enter__(self) -> AvReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._container.close()
        self._raw.close()

    def blocks(self, span: Span | None = None) -> Iterator[NDArray[np.float32]]:
        """The audio, or a part of it, in blocks of a second: (C, n) float32, full scale at 1.

        Raises:
            AudioError: The file is damaged, cut or too short for the part, or holds a sample that is not finite.
        """
        try:
            yield from cut(self._seconds(), *span.samples(self.sample_rate)) if span else self._seconds()
        except AudioError as error:
            raise self._named(error) from None

    def arriving(self) -> Generator[NDArray[np.float32], None, None]:
        """All of it: what is read here is a file, of which nothing is still to come. See ``AudioReader``."""
        yield from self.blocks()

    def _named(self, error: AudioError) -> AudioError:
        return error if str(error).startswith(str(self.path)) else AudioError(f"{self.path}: {error}")

    def _seconds(self) -> Iterator[NDArray[np.float32]]:
        size, position = max(1, int(self.sample_rate * BLOCK_SECONDS)), 0
        for block in regrouped(self._frames(), size):
            check_samples(block, position)
            position += block.shape[1]
            yield block
        if not position:
            raise AudioError("it holds no samples")
        declared = self._declared_seconds()
        if position / self.sample_rate < declared - _SLACK_SECONDS:
            raise AudioError(f"it is cut: {position / self.sample_rate:.2f} of {declared:.2f} s are there")

    def _declared_seconds(self) -> float:
        """How long the file says its sound is; 0 where it does not."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        alone = len(self._container.streams) == 1  # else the container's duration may be the picture's
        return float(self._container.duration / self._av.time_base) if alone and self._container.duration else 0.0

    def _frames(self) -> Iterator[NDArray[np.float32]]:
        layout = self._stream.codec_context.layout
        # Interleaved, since PyAV fails on eight channels that are not. FFmpeg's order of channels is WAV's.
        resampler = self._av.AudioResampler(format="flt", layout=layout, rate=self.sample_rate)
        try:
            for decoded in chain(self._container.decode(self._stream), (None,)):
                if decoded is not None:
                    self._check_unchanged(decoded.sample_rate, decoded.layout.nb_channels)
                for frame in resampler.resample(decoded):
                    yield frame.to_ndarray().reshape(-1, self.channels).T
                    if self._closed:  # PyAV would read on, from memory that is freed
                        raise AudioError("it was closed while it was read")
        except (self._av.FFmpegError, OSError) as error:
            raise AudioError(f"it is damaged: {_reason(error)}") from error

    def _check_unchanged(self, sample_rate: int, channels: int) -> None:
        if (sample_rate, channels) != (self.sample_rate, self.channels):
            raise AudioError(changed((self.sample_rate, self.channels), (sample_rate, channels)))


def _reason(error: Exception) -> str:
    """What FFmpeg or the system says, without a number and the file's name."""
    return str(getattr(error, "strerror", None) or error)
