"""Standard input and output in place of files, for one stream.

Nothing half written: a file appears whole or not at all, and audio goes to standard output once all of it is there.
Codes go there as they are made, so that they can be sent on while audio comes in; one that ends early has no trailer.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.cli.aside import Feed, aside, incoming
from apcodec_deploy.cli.console import say
from apcodec_deploy.cli.conversion import say_clipped, say_gaps
from apcodec_deploy.cli.signals import interruptible
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.files import open_input, written_whole
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted, decode_stream, encode_stream
from apcodec_deploy.transcoding.watch import Watch

STANDARD = "-"
_NAME = "standard input"
_IN_MEMORY = 1 << 26
"""Bytes of codes that are held in memory until all are there: a day of audio. More go to a temporary file."""


def is_standard(inputs: Sequence[Path], output: str | None) -> bool:
    """Whether standard input or output is asked for."""
    return STANDARD in (*map(str, inputs), output)


def encode_standard(codec: Codec, inputs: Sequence[Path], output: str | None, options: ConversionOptions) -> None:
    """Code one stream: from standard input, to standard output, or both.

    Raises:
        OutputError: There are several inputs, or nowhere to put the codes.
    """
    source, target = _ends(inputs, output)
    codec.layout(options.window)

    def encode(file: BinaryIO) -> Converted:
        feed = None if source is not None else Feed(_input("audio", "ffmpeg -i FILE -f wav - | apcodec encode -"))

        def work(watch: Watch) -> Converted:
            with open_audio(source) if source is not None else _stream(feed) as reader:
                converted = encode_stream(codec, reader, file, options, watch)
                file.flush()
                return converted

        return aside(work, feed)

    with interruptible():
        if target is None:
            converted = encode(_output())
        else:
            with written_whole(target, overwrite=options.overwrite) as partial, partial.open("wb") as file:
                converted = encode(file)
    say(f"{converted.seconds:.3f} s of audio coded")


def decode_standard(
    codec: Codec, inputs: Sequence[Path], output: str | None, form: AudioFormat, options: ConversionOptions
) -> None:
    """Decode one stream: from standard input, to standard output, or both. It is decoded once all of it is there.

    Raises:
        OutputError: There are several inputs, or nowhere to put the audio.
    """
    source, target = _ends(inputs, output)
    codec.layout(options.window)

    def decode(into: Path) -> Converted:
        with _codes(source) as (file, name):
            return aside(lambda watch: decode_stream(codec, file, name, into, form, options, watch))

    with interruptible():
        if target is not None:
            with written_whole(target, overwrite=options.overwrite) as partial:
                converted = decode(partial)
        else:
            standard = _output()
            with tempfile.TemporaryDirectory(prefix="apcodec-") as folder:
                converted = decode(Path(folder) / "audio")
                with (Path(folder) / "audio").open("rb") as audio:
                    shutil.copyfileobj(audio, standard)
                standard.flush()
    say_gaps(_NAME if source is None else source, converted)
    say_clipped(converted.clipped)
    say(f"{converted.seconds:.3f} s of audio decoded")


def _ends(inputs: Sequence[Path], output: str | None) -> tuple[Path | None, Path | None]:
    """Where a stream comes from and goes to; None stands for standard input and output."""
    if len(inputs) != 1 or output is None:
        raise OutputError("- stands for one stream: one input, and -o with a file or -")
    return None if str(inputs[0]) == STANDARD else inputs[0], None if output == STANDARD else Path(output)


def _input(what: str, example: str) -> int:
    """The descriptor of standard input, if somebody is there who could give that."""
    if sys.stdin.isatty():
        raise AudioError(f"{_NAME} is a terminal; {what} is expected: {example}")
    return sys.stdin.fileno()


def _output() -> BinaryIO:
    """Standard output, if anybody could get what goes there.

    Raises:
        OutputError: It is closed.
    """
    sys.stdout.buffer.write(b"")
    sys.stdout.fileno()
    return sys.stdout.buffer


def _stream(feed: Feed | None) -> AudioReader:
    assert feed is not None
    return AudioReader.of_stream(feed.descriptor, _NAME)


@contextmanager
def _codes(source: Path | None) -> Iterator[tuple[BinaryIO, str]]:
    """All codes of a stream in a file that seeks, and what errors call it."""
    if source is not None:
        with open_input(source) as file:
            yield file, str(source)
        return
    descriptor = _input("a .apc file", "cat FILE.apc | apcodec decode - -o FILE.wav")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as held:
        with closing(incoming(descriptor)) as blocks:
            for block in blocks:
                held.write(block)
        yield held, _NAME  # type: ignore[misc]  # binary, which its type does not say
