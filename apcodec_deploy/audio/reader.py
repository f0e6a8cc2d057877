"""Read audio files block by block, all of the audio that is in them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.blocks import regrouped
from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.parts import parts
from apcodec_deploy.audio.containers.source import FileSource, PipeSource, Source
from apcodec_deploy.audio.decoder import Decoder
from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.audio.span import Span, cut
from apcodec_deploy.disguise import HEAD_BYTES, disguise
from apcodec_deploy.errors import AudioError
from apcodec_deploy.files import open_input

BLOCK_SECONDS = 1.0
# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave",
))
# fmt: on


def is_audio(path: Path) -> bool:
    """Whether a file is audio by its name, such as ``AudioReader`` reads."""
    return path.suffix.lower() in AUDIO_SUFFIXES


class AudioReader:
    """An audio file, open for reading.

    Its own account of its length is not believed: after the last sample there is no audio left in the file. What stands
    one after the other in it (chained Ogg, joined MP3) is read on, as long as rate and channels stay the same.

    Attributes:
        path: The file.
        sample_rate: Hz.
        channels: Channels.
    """

    sample_rate: int
    channels: int

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            AudioError: It cannot be read, is no audio, is empty, was cut, or holds more than it says and nothing tells
                what that is.
        """
        self.path = path
        # Opened by us, so that a missing file and one that is no audio read differently.
        raw = open_input(path)
        self._raw: BinaryIO | None = raw
        self._decoder: Decoder | None = None
        try:
            source = FileSource(raw)
            self._begin(source)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = disguise(source.read(0, HEAD_BYTES)) or _reason(error)
            self.close()
            raise AudioError(f"{path} cannot be read as audio: {reason}") from error
        except AudioError as error:
            self.close()
            raise self._named(error) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._decoder is not None:
            self._decoder.close()
        if self._raw is not None:
            self._raw.close()

    @property
    def declared_samples(self) -> int | None:
        """Samples of each channel, as far as can be told without decoding; None where it cannot, as in a pipe."""
        lengths = [length for _, length in self._parts if length is not None]
        return sum(lengths) if len(lengths) == len(self._parts) and self._raw is not None else None

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
        reader.path, reader._raw, reader._decoder = Path(name), None, None
        source = PipeSource(descriptor)
        try:
            reader._begin(source)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            if reason := disguise(source.read(0, HEAD_BYTES)):
                raise AudioError(f"{name} cannot be read as audio: {reason}") from error
            raise AudioError(
                f"{name} cannot be read as audio from a pipe ({_reason(error)}); "
                "wav, flac, ogg and mp3 can: ffmpeg ... -f wav -"
            ) from error
        except AudioError as error:
            raise AudioError(f"{name}: {error}") from None
        return reader

    def blocks(self, span: Span | None = None) -> Iterator[NDArray[np.float32]]:
        """The audio, or a part of it, in blocks of a second: (C, n) float32, full scale at 1.

        Channels are in WAV's order, whatever that of the file. What comes through a pipe can be read once.

        Raises:
            AudioError: The file is damaged, cut or too short for the part, holds no samples, or one that is not finite.
        """
        first, stop = (0, None) if span is None else span.samples(self.sample_rate)
        size = max(1, int(self.sample_rate * BLOCK_SECONDS))
        try:
            index, begun, offset = self._place(first)
            blocks = regrouped(self._checked(self._decoded(index, offset, size), begun + offset), size)
            yield from blocks if span is None else cut(blocks, first, stop, at=begun + offset)
        except AudioError as error:
            raise self._named(error) from None

    def arriving(self) -> Generator[NDArray[np.float32], None, None]:
        """The audio of a pipe as it comes, without waiting for more: (C, n) float32, n at most a second.

        Of compressed audio, libsndfile holds back some: up to a tenth of a second, or a frame of its format. All of a
        file has come already.

        Raises:
            AudioError: See ``blocks``.
        """
        if self._raw is not None:
            yield from self.blocks()
            return
        try:
            yield from self._checked(self._decoded(0, 0, max(1, self.sample_rate), arriving=True), 0)
        except AudioError as error:
            raise self._named(error) from None

    def _named(self, error: AudioError) -> AudioError:
        return error if str(error).startswith(str(self.path)) else AudioError(f"{self.path}: {error}")

    def _begin(self, source: Source) -> None:
        """Open what comes first, and look at all the rest if that can be told apart without decoding."""
        self._more = parts(source)
        self._parts: list[tuple[Part, int | None]] = []
        if not self._find():
            raise ValueError("it is of no kind that is known")
        first, _ = self._parts[0]
        while self._raw is not None and not first.settled and self._find():
            pass

    def _find(self) -> bool:
        """Find the next part, if there is one.

        Raises:
            AudioError: It is another kind of sound than the first.
        """
        part = next(self._more, None)
        if part is None:
            return False
        if self._raw is not None:
            part.view.drain()
        decoder = Decoder(part)
        if not self._parts:
            self.sample_rate, self.channels = check_rate(decoder.sample_rate), decoder.channels
        elif (decoder.sample_rate, decoder.channels) != (self.sample_rate, self.channels):
            decoder.close()
            raise AudioError(changed((self.sample_rate, self.channels), (decoder.sample_rate, decoder.channels)))
        self._parts.append((part, decoder.samples))
        self._keep(decoder)
        self._fresh = True
        return True

    def _keep(self, decoder: Decoder | None) -> None:
        """Have one decoder open at most: that of the part which was found last, until it is used."""
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = decoder

    def _place(self, sample: int) -> tuple[int, int, int]:
        """The part that a sample is in, the sample that it begins with, and how many can be skipped in it."""
        index = begun = 0
        while index < len(self._parts) or self._find():
            length = self._parts[index][1]
            if length is None:
                return index, begun, 0
            if begun + length > sample:
                return index, begun, sample - begun
            index, begun = index + 1, begun + length
        return index, begun, 0

    def _decoded(self, index: int, offset: int, size: int, *, arriving: bool = False) -> Iterator[NDArray[np.float32]]:
        """From a sample of a part to the end of all of them."""
        while index < len(self._parts) or self._find():
            if index < len(self._parts) - 1 or not self._fresh:
                self._keep(Decoder(self._parts[index][0]))
            self._fresh = False
            assert self._decoder is not None
            yield from self._decoder.blocks(size, first=offset, arriving=arriving)
            index, offset = index + 1, 0

    def _checked(self, blocks: Iterator[NDArray[np.float32]], position: int) -> Iterator[NDArray[np.float32]]:
        """The same blocks, which begin at a sample of the file, or what is wrong with them."""
        start = position
        try:
            for block in blocks:
                check_samples(block, position)
                position += block.shape[1]
                yield block
        except (soundfile.SoundFileError, OSError) as error:
            place = f"after {position / self.sample_rate:.2f} s"
            raise AudioError(f"{self.path} is damaged {place}: {_reason(error)}") from error
        if position == start == 0:
            raise AudioError(f"{self.path} holds no samples")


def changed(before: tuple[int, int], after: tuple[int, int]) -> str:
    """What to say of a file whose sample rate or number of channels changes."""
    sounds = " to ".join(
        f"{rate} Hz with {channels} channel{'s' * (channels > 1)}" for rate, channels in (before, after)
    )
    return f"within the file its audio changes from {sounds}; split it there"


def _reason(error: Exception) -> str:
    """What libsndfile says, without its ornaments."""
    return str(error).removeprefix("Error : ").rsplit(": ", 1)[-1].rstrip(".")
