"""Convert one file: audio to codes, codes to audio, audio to audio through the codec, codes to checked codes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.writer import AudioFormat, AudioWriter
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader, Gap
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.codec import Codec, WindowLength
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.files import open_input, written_whole
from apcodec_deploy.transcoding.naming import is_codes

Watch = Callable[[float], None]
"""Told the seconds of audio of each block that was read; may raise to stop the conversion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """How files are converted.

    Attributes:
        form: The audio format to write, or None to write codes.
        window: See ``Codec.encode``.
        overwrite: Replace outputs that exist.
        salvage: Decode damaged codes as far as they go.
    """

    form: AudioFormat | None
    window: WindowLength = None
    overwrite: bool = False
    salvage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion did.

    Attributes:
        seconds: Of audio.
        clipped: Samples that were beyond full scale of an integer format.
        gaps: Damaged stretches that were salvaged to silence.
    """

    seconds: float
    clipped: int = 0
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class _Codes:
    """Codes of one clip, on their way."""

    header: Header
    blocks: Iterable[NDArray[np.int16]]
    gaps: list[Gap]


def convert(
    codec: Codec, source: Path, target: Path, options: ConversionOptions, watch: Watch = lambda seconds: None
) -> Converted:
    """Convert one file; the target appears whole or not at all. Memory does not grow with the clip's length.

    Raises:
        ApcodecError: The source cannot be read, coded or decoded, or the target cannot be written.
    """
    with written_whole(target, overwrite=options.overwrite) as temporary:
        try:
            if options.form is not None:
                return _to_audio(codec, source, temporary, options, options.form, watch)
            if is_codes(source):
                return _copy_codes(codec, source, temporary, watch)
            return _to_codes(codec, source, temporary, options, watch)
        except BitstreamError as error:
            raise type(error)(f"{source}: {error}") from error


def _to_codes(codec: Codec, source: Path, target: Path, options: ConversionOptions, watch: Watch) -> Converted:
    layout = codec.layout(options.window)
    with AudioReader(source) as reader, target.open("wb") as file:
        read = _Counted(reader, watch)
        header = codec.header(reader.sample_rate, reader.channels, layout, one_dimensional=reader.channels == 1)
        writer = BitstreamWriter(file, header)
        for codes in codec.encode_stream(read.blocks(), reader.sample_rate, layout):
            writer.write(codes)
        writer.finish(read.samples)
        return Converted(seconds=read.samples / reader.sample_rate)


def _to_audio(
    codec: Codec, source: Path, target: Path, options: ConversionOptions, form: AudioFormat, watch: Watch
) -> Converted:
    opened = _stored_codes(source, options, watch) if is_codes(source) else _fresh_codes(codec, source, options, watch)
    with opened as codes:
        header = codes.header
        audio = codec.decode_stream(
            codes.blocks, header, codes.gaps, window=options.window if is_codes(source) else None
        )
        with AudioWriter(target, form, header.sample_rate, header.channels, header.samples) as writer:
            for block in audio:
                writer.write(block)
        return Converted(seconds=header.samples / header.sample_rate, clipped=writer.clipped, gaps=tuple(codes.gaps))


def _copy_codes(codec: Codec, source: Path, target: Path, watch: Watch) -> Converted:
    """Codes of this model stay as they are once every chunk of them was checked."""
    with open_input(source) as file:
        reader = BitstreamReader(file)
        codec.check(reader.header)
        for _ in _watched(reader, watch):
            pass
        file.seek(0)
        with target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    return Converted(seconds=reader.header.samples / reader.header.sample_rate)


@contextmanager
def _stored_codes(source: Path, options: ConversionOptions, watch: Watch) -> Iterator[_Codes]:
    with open_input(source) as file:
        reader = BitstreamReader(file, salvage=options.salvage)
        yield _Codes(reader.header, _watched(reader, watch), reader.gaps)


@contextmanager
def _fresh_codes(codec: Codec, source: Path, options: ConversionOptions, watch: Watch) -> Iterator[_Codes]:
    """Codes of an audio file, all of them: an hour takes 4 MB, and only then is its length certain."""
    layout = codec.layout(options.window)
    with ExitStack() as stack:
        reader = stack.enter_context(AudioReader(source))
        read = _Counted(reader, watch)
        header = codec.header(reader.sample_rate, reader.channels, layout, one_dimensional=reader.channels == 1)
        blocks = list(codec.encode_stream(read.blocks(), reader.sample_rate, layout))
        yield _Codes(header.counted(read.samples, sum(block.shape[2] for block in blocks)), blocks, [])


def _watched(reader: BitstreamReader, watch: Watch) -> Iterator[NDArray[np.int16]]:
    header = reader.header
    for codes in reader.chunks():
        watch(codes.shape[2] * header.samples_per_latent / header.model_rate)
        yield codes


class _Counted:
    """The blocks of an audio file, counted as they pass."""

    def __init__(self, reader: AudioReader, watch: Watch) -> None:
        self._reader = reader
        self._watch = watch
        self.samples = 0

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        for block in self._reader.blocks():
            self.samples += block.shape[1]
            self._watch(block.shape[1] / self._reader.sample_rate)
            yield block
