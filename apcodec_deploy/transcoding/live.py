"""One stream, coded or decoded while it comes: nothing waits for more than a token, or for the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import BinaryIO

from apcodec_deploy.audio.av_reader import AvReader
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.wav_stream import WavStream
from apcodec_deploy.bitstream.gaps import silenced
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.parser import Arrival, StreamParser
from apcodec_deploy.bitstream.writer import LiveWriter
from apcodec_deploy.codec import Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted
from apcodec_deploy.transcoding.watch import Watch


def encode_live(codec: Codec, source: AudioReader | AvReader, target: BinaryIO, watch: Watch) -> Converted:
    """Code audio while it comes; the codes of what is there leave at once.

    Args:
        codec: A causal model.
        source: The audio: a pipe, or a file.
        target: Gets a live stream.
        watch: Told what happens.

    Raises:
        ApcodecError: The audio cannot be read or coded, or the codes cannot be written.
    """
    rate, channels = source.sample_rate, source.channels
    session = codec.encoder(rate, channels)
    header = codec.header(rate, channels, codec.layout(), one_dimensional=channels == 1, trailer=True)
    writer = LiveWriter(target, replace(header, live=True))
    with closing(source.arriving()) as blocks:
        for block in blocks:
            writer.write(session.push(block))
            watch.heard(block.shape[1] / rate)
    watch.alive()  # where work is to stop, the end of what is read is none
    return Converted.of(writer.finish(session.flush(), session.samples))


def decode_live(
    codec: Codec,
    header: Header,
    blocks: Iterable[bytes],
    target: BinaryIO,
    options: ConversionOptions,
    watch: Watch,
) -> Converted:
    """Decode codes while they come; what they sound like leaves at once, as a WAV that does not say its length.

    Args:
        codec: The model that made them.
        header: Of the stream, as it begins.
        blocks: All of the stream's bytes, in any pieces.
        target: Gets the audio.
        options: How.
        watch: Told what happens.

    Raises:
        ApcodecError: The codes are damaged or another model's, or the audio cannot be written.
    """
    assert options.form is not None
    codec.check(header)
    parser = StreamParser(salvage=options.salvage)
    stream = WavStream(target, options.form, header.sample_rate, header.channels)
    session = codec.decoder(header.sample_rate, header.channels)
    sound = (
        session.push(arrival.codes)
        if arrival.samples is None
        else session.flush(arrival.codes, samples=arrival.samples)
        for arrival in _arrivals(parser, blocks, watch)
    )
    for block in silenced(sound, parser.gaps, header.samples_per_latent * header.sample_rate / header.model_rate):
        if block.shape[1]:
            stream.write(block)
        watch.heard(block.shape[1] / header.sample_rate)
    whole = header.counted(session.samples, session.tokens)
    return Converted.of(whole, clipped=stream.clipped, gaps=tuple(parser.gaps))


def _arrivals(parser: StreamParser, blocks: Iterable[bytes], watch: Watch) -> Iterator[Arrival]:
    for block in blocks:
        yield from parser.feed(block)
    watch.alive()
    yield from parser.close()
