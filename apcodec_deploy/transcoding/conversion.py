"""Convert one file: audio to codes, codes to audio, audio to audio through the codec, codes to checked codes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.av_reader import AvReader
from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span
from apcodec_deploy.audio.writer import AudioFormat, AudioWriter
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader, named_codes, open_codes
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import AudioError
from apcodec_deploy.files import written_whole
from apcodec_deploy.spec import WindowLength
from apcodec_deploy.transcoding.naming import ARRAYS, CODES, is_codes
from apcodec_deploy.transcoding.watch import Stage, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """How files are converted.

    Attributes:
        form: The audio format to write, or None to write codes.
        arrays: Write codes as ``.npy`` of (C, Q, L) uint16 instead of ``.apc``.
        window: See ``Codec.encode``.
        overwrite: Replace outputs that exist.
        salvage: Decode damaged codes as far as they go.
    """

    form: AudioFormat | None
    arrays: bool = False
    window: WindowLength = None
    overwrite: bool = False
    salvage: bool = False

    @property
    def to(self) -> str:
        """The kind of what is written: one of ``TARGETS``."""
        return self.form.name if self.form else ARRAYS if self.arrays else CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion did.

    Attributes:
        samples: Per channel, at ``sample_rate``.
        sample_rate: Hz, of the source.
        channels: Channels.
        clipped: Samples that were beyond full scale of an integer format.
        gaps: Damaged stretches that were salvaged to silence.
    """

    samples: int
    sample_rate: int
    channels: int
    clipped: int = 0
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def of(cls, header: Header, *, clipped: int = 0, gaps: tuple[Gap, ...] = ()) -> Converted:
        """What became of the clip that a header describes."""
        return cls(
            samples=header.samples,
            sample_rate=header.sample_rate,
            channels=header.channels,
            clipped=clipped,
            gaps=gaps,
        )

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        return self.samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class _Codes:
    """Codes of one clip, on their way to audio, and how much of a conversion's whole way decoding them is."""

    header: Header
    blocks: Iterable[NDArray[np.int16]]
    gaps: list[Gap]
    share: float


def convert(
    codec: Codec,
    source: Path,
    target: Path,
    options: ConversionOptions,
    watch: Watch | None = None,
    *,
    span: Span | None = None,
) -> Converted:
    """Convert one file; the target appears whole or not at all.

    Memory does not grow with the clip's length, but for the codes of audio that goes to audio (4 MB per hour).

    Args:
        codec: The model.
        source: Audio or codes.
        target: What is to appear.
        options: How.
        watch: Told what happens.
        span: The part of an audio file to convert; all of it where None.

    Raises:
        ApcodecError: The source cannot be read, coded or decoded, or the target cannot be written.
    """
    with written_whole(target, overwrite=options.overwrite) as temporary:
        return convert_into(codec, source, temporary, options, Watch() if watch is None else watch, span=span)


def convert_into(
    codec: Codec, source: Path, target: Path, options: ConversionOptions, watch: Watch, *, span: Span | None = None
) -> Converted:
    """Convert one file to a path that is the caller's own; after an error it may hold anything.

    Raises:
        ApcodecError: The source cannot be read, coded or decoded.
        OSError: The target cannot be written.
    """
    return _Way(codec, options, watch, span).convert(source, target)


def encode_stream(
    codec: Codec, source: AudioReader | AvReader, target: BinaryIO, options: ConversionOptions, watch: Watch
) -> Converted:
    """Code audio that comes through a pipe into a file that need not seek: the counts stand in its trailer.

    Raises:
        ApcodecError: The audio cannot be read or coded.
    """
    return _Way(codec, options, watch, None).write_codes(source, target, trailer=True)


def decode_stream(
    codec: Codec, source: BinaryIO, name: str, target: Path, form: AudioFormat, options: ConversionOptions, watch: Watch
) -> Converted:
    """Decode codes that have come through a pipe.

    Args:
        codec: The model.
        source: All of them, in a file that seeks: their counts may stand at the end.
        name: What errors call it.
        target: The audio file, which is the caller's own.
        form: Of the audio.
        options: How.
        watch: Told what happens.

    Raises:
        ApcodecError: They are damaged, another model's, or cannot be decoded.
    """
    with named_codes(source, name, salvage=options.salvage) as reader:
        return _Way(codec, options, watch, None).write_audio(reader, target, form)


@dataclass(frozen=True, slots=True)
class _Way:
    """From one file to another."""

    codec: Codec
    options: ConversionOptions
    watch: Watch
    span: Span | None

    def convert(self, source: Path, target: Path) -> Converted:
        form = self.options.form
        if is_codes(source):
            if self.span is not None:
                raise AudioError(f"{source} holds codes, of which 'apcodec slice' makes parts")
            if form is None:
                return (self._unpack_codes if self.options.arrays else self._copy_codes)(source, target)
            return self._decode(source, target, form)
        with open_audio(source) as reader:
            if form is None and self.options.arrays:
                return self._write_array(self._all_codes(reader), target)
            if form is None:
                with target.open("wb") as file:
                    return self.write_codes(reader, file)
            form.check(reader.sample_rate, reader.channels)
            codes = self._all_codes(reader)
        return self._to_audio(codes, target, form)

    def write_codes(self, reader: AudioReader | AvReader, file: BinaryIO, *, trailer: bool = False) -> Converted:
        """Code audio into an open file."""
        clip = _Clip(self, reader, trailer=trailer)
        writer = BitstreamWriter(file, clip.header)
        with closing(clip.codes()) as blocks:
            for codes in blocks:
                with self.watch.during(Stage.WRITING):
                    writer.write(codes)
        return Converted.of(writer.finish(clip.samples))

    def _all_codes(self, reader: AudioReader | AvReader) -> _Codes:
        """Codes of an audio file, all of them: only then is its length certain."""
        clip = _Clip(self, reader)
        # Coding is about half of the way; decoding tells of the other half.
        blocks = list(clip.codes(share=0.5))
        header = clip.header.counted(clip.samples, sum(block.shape[2] for block in blocks))
        return _Codes(header, blocks, [], share=0.5)

    def _decode(self, source: Path, target: Path, form: AudioFormat) -> Converted:
        with open_codes(source, salvage=self.options.salvage) as reader:
            return self.write_audio(reader, target, form)

    def write_audio(self, reader: BitstreamReader, target: Path, form: AudioFormat) -> Converted:
        """Decode codes into an audio file."""
        codes = _Codes(reader.header, self.watch.each(Stage.READING, reader.chunks()), reader.gaps, share=1)
        return self._to_audio(codes, target, form, window=self.options.window)

    def _to_audio(self, codes: _Codes, target: Path, form: AudioFormat, *, window: WindowLength = None) -> Converted:
        header = codes.header
        with AudioWriter(target, form, header.sample_rate, header.channels, header.samples) as writer:
            for block in self.codec.decode_stream(codes.blocks, header, codes.gaps, window=window):
                with self.watch.during(Stage.WRITING):
                    writer.write(block)
                self.watch.heard(codes.share * block.shape[1] / header.sample_rate)
        return Converted.of(header, clipped=writer.clipped, gaps=tuple(codes.gaps))

    def _unpack_codes(self, source: Path, target: Path) -> Converted:
        with open_codes(source) as reader:
            self.codec.check(reader.header)
            blocks = self.watch.each(Stage.READING, reader.chunks())
            return self._write_array(_Codes(reader.header, blocks, [], share=1), target)

    def _write_array(self, codes: _Codes, target: Path) -> Converted:
        array = np.concatenate(list(codes.blocks), axis=2).astype(np.uint16)
        with self.watch.during(Stage.WRITING), target.open("wb") as file:
            np.save(file, array)
        return Converted.of(codes.header)

    def _copy_codes(self, source: Path, target: Path) -> Converted:
        """Codes of this model stay as they are, every chunk of them checked; those that came live get usual chunks."""
        with open_codes(source) as reader, target.open("wb") as copy:
            header = reader.header
            self.codec.check(header)
            writer = BitstreamWriter(copy, header)
            for codes in self.watch.each(Stage.READING, reader.chunks()):
                with self.watch.during(Stage.WRITING):
                    writer.write(codes)
                self.watch.heard(codes.shape[2] * header.samples_per_latent / header.model_rate)
            return Converted.of(writer.finish(header.samples))


class _Clip:
    """An audio file on its way to codes, with its samples counted as they pass."""

    def __init__(self, way: _Way, reader: AudioReader | AvReader, *, trailer: bool = False) -> None:
        layout = way.codec.layout(way.options.window)
        self.header = way.codec.header(
            reader.sample_rate, reader.channels, layout, one_dimensional=reader.channels == 1, trailer=trailer
        )
        self.samples = 0
        self._way = way
        self._reader = reader

    def codes(self, *, share: float = 1) -> Generator[NDArray[np.int16], None, None]:
        """The codes, block by block, which are ``share`` of the conversion's whole way."""
        return self._way.codec.encode_stream(self._blocks(share), self.header.sample_rate, self.header.layout)

    def _blocks(self, share: float) -> Iterator[NDArray[np.float32]]:
        watch = self._way.watch
        # Closed whatever happens, and so before the file is that they are read from natively.
        with closing(watch.each(Stage.READING, self._reader.blocks(self._way.span))) as blocks:
            for block in blocks:
                self.samples += block.shape[1]
                watch.heard(share * block.shape[1] / self.header.sample_rate)
                yield block
