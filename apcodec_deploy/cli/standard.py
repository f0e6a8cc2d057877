"""Standard input and output in place of files, for one stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.cli.console import say
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.files import written_whole
from apcodec_deploy.transcoding.conversion import ConversionOptions, encode_stream

STANDARD = "-"


def encode_standard(codec: Codec, inputs: Sequence[Path], output: str | None, options: ConversionOptions) -> None:
    """Code one stream: from standard input, to standard output, or both.

    Raises:
        OutputError: There are several inputs, or nowhere to put the codes.
    """
    if len(inputs) != 1 or output is None:
        raise OutputError("- stands for one stream: one input, and -o with a file or -")
    source = str(inputs[0])
    with _standard_input() if source == STANDARD else open_audio(inputs[0]) as reader:
        if output == STANDARD:
            converted = encode_stream(codec, reader, sys.stdout.buffer, options)
            sys.stdout.buffer.flush()
        else:
            with written_whole(Path(output), overwrite=options.overwrite) as partial, partial.open("wb") as file:
                converted = encode_stream(codec, reader, file, options)
    say(f"{converted.seconds:.3f} s of audio coded")


def _standard_input() -> AudioReader:
    if sys.stdin.isatty():
        raise AudioError("standard input is a terminal; audio is expected: ffmpeg -i FILE -f wav - | apcodec encode -")
    return AudioReader.of_stream(sys.stdin.fileno(), "standard input")
