"""Standard input and output in place of files, for one stream.

Nothing half written: a file appears whole or not at all, and audio goes to standard output once all of it is there.
Codes go there as they are made, so that they can be sent on while audio comes in; one that ends early has no trailer.
Live codes leave with every block that comes, and what they sound like with every one of them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.bitstream.header import HEADER_BYTES, Header
from apcodec_deploy.bitstream.reader import errors_named
from apcodec_deploy.cli.aside import Feed, aside
from apcodec_deploy.cli.console import say
from apcodec_deploy.cli.conversion import say_clipped, say_gaps
from apcodec_deploy.cli.signals import interruptible
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.files import open_input, written_whole
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted, decode_stream, encode_stream
from apcodec_deploy.transcoding.live import decode_live, encode_live
from apcodec_deploy.transcoding.watch import Watch

STANDARD = "-"
_NAME = "standard input"
_IN_MEMORY = 1 << 26
"""Bytes of codes that are held in memory until all are there: a day of audio. More go to a temporary file."""


def is_standard(inputs: Sequence[Path], output: str | None) -> bool:
    """Whether standard input or output is asked for."""
    return STANDARD in (*map(str, inputs), output)


def encode_standard(
    codec: Codec, inputs: Sequence[Path], output: str | None, options: ConversionOptions, *, live: bool = False
) -> None:
    """Code one stream: from standard input, to standard output, or both.

    Raises:
        OutputError: There are several inputs, or nowhere to put the codes.
        SessionError: It is to be live, and the model is not causal.
    """
    source, target = _ends(inputs, output)
    codec.layout(options.window)
    if live:
        codec.encoder()

    def encode(file: BinaryIO) -> Converted:
        feed = None if source is not None else _feed("audio", "ffmpeg -i FILE -f wav - | apcodec encode -", target)

        def work(watch: Watch) -> Converted:
            with open_audio(source) if source is not None else _stream(feed) as reader:
                if live:
                    return encode_live(codec, reader, file, watch)
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
    """Decode one stream: from standard input, to standard output, or both.

    It is decoded once all of it is there, but for a live one that goes to standard output as WAV: that while it comes.

    Raises:
        OutputError: There are several inputs, or nowhere to put the audio.
    """
    source, target = _ends(inputs, output)
    codec.layout(options.window)

    def decode(into: Path) -> Converted:
        """Decode into a path; where the stream is live, to standard output."""
        example = "cat FILE.apc | apcodec decode - -o FILE.wav"
        feed = None if source is not None else _feed("a .apc file", example, target)

        def work(watch: Watch) -> Converted:
            if feed is None:
                assert source is not None
                with open_input(source) as file:
                    return decode_stream(codec, file, str(source), into, form, options, watch)
            with errors_named(_NAME):
                header, data = _begun(feed)
                if header.live and target is None and form.name == "wav":
                    return decode_live(codec, header, data, sys.stdout.buffer, options, watch)
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as held:
                for block in data:
                    held.write(block)
                watch.alive()  # where work is to stop, the end of what is read is none
                # It is binary, which its type does not say.
                return decode_stream(codec, cast(BinaryIO, held), _NAME, into, form, options, watch)

        return aside(work, feed)

    with interruptible():
        if target is not None:
            with written_whole(target, overwrite=options.overwrite) as partial:
                converted = decode(partial)
        else:
            standard = _output()
            with tempfile.TemporaryDirectory(prefix="apcodec-") as folder:
                made = Path(folder) / "audio"
                converted = decode(made)
                if made.exists():
                    with made.open("rb") as audio:
                        shutil.copyfileobj(audio, standard)
                    standard.flush()
    say_gaps(_NAME if source is None else source, converted)
    say_clipped(converted.clipped)
    say(f"{converted.seconds:.3f} s of audio decoded")


def _ends(inputs: Sequence[Path], output: str | None) -> tuple[Path | None, Path | None]:
    """Where a stream comes from and goes to; None stands for standard input and output."""
    if len(inputs) != 1 or output is None:
        raise OutputError("one stream is expected: one input, and -o with a file or -")
    return None if str(inputs[0]) == STANDARD else inputs[0], None if output == STANDARD else Path(output)


def _feed(what: str, example: str, target: Path | None) -> Feed:
    """What comes through standard input, if somebody is there who could give that, and somebody who gets the result."""
    if sys.stdin.isatty():
        raise AudioError(f"{_NAME} is a terminal; {what} is expected: {example}")
    return Feed(sys.stdin.fileno(), sys.stdout.fileno() if target is None else None)


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


def _begun(feed: Feed) -> tuple[Header, Iterator[bytes]]:
    """What a stream of codes says of itself, and all of its bytes from the first one on.

    Raises:
        BitstreamError: It is none.
    """
    blocks, head = feed.blocks(), b""
    while len(head) < HEADER_BYTES and (block := next(blocks, b"")):
        head += block
    return Header.from_bytes(head[:HEADER_BYTES]), chain([head], blocks)
