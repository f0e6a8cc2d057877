"""One stream while it comes, without a shell: through pipes of this process."""

from __future__ import annotations

import io
import itertools
import os
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
from apc_files import read
from audio_files import WAV
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.bitstream.header import HEADER_BYTES, Header
from apcodec_deploy.errors import BitstreamError, ModelMismatchError, SessionError
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted
from apcodec_deploy.transcoding.live import decode_live, encode_live
from apcodec_deploy.transcoding.watch import Watch

FLOAT = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"))
SALVAGED = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"), salvage=True)


@pytest.fixture(scope="module")
def streaming(streamable_bundle: Path) -> Iterator[Codec]:
    with apcodec_deploy.load(streamable_bundle, "onnxruntime", device="cpu", threads=1) as codec:
        yield codec


class Microphone:
    """Gives audio (C, n) in blocks of 2,500 samples."""

    def __init__(self, audio: NDArray[np.float32], rate: int) -> None:
        self.sample_rate, self.channels = rate, len(audio)
        self._audio = audio

    def arriving(self) -> Generator[NDArray[np.float32], None, None]:
        for start in range(0, self._audio.shape[1], 2_500):
            yield self._audio[:, start : start + 2_500]


def recorded(codec: Codec, audio: NDArray[np.float32], rate: int = 48_000) -> bytes:
    """A live stream of what a microphone gives."""
    sent = io.BytesIO()
    encode_live(codec, cast(AudioReader, Microphone(audio, rate)), sent, Watch())
    return sent.getvalue()


def piped(codec: Codec, audio: NDArray[np.float32], rate: int, cuts: list[int]) -> bytes:
    """A live stream of audio (C, n) that is written to a pipe in pieces."""
    file = io.BytesIO()
    soundfile.write(file, audio.T, rate, format="WAV", subtype="FLOAT")
    data = file.getvalue()
    source, target = os.pipe()

    def write() -> None:
        for start, stop in itertools.pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
            part = data[start:stop]
            while part:
                part = part[os.write(target, part) :]
        os.close(target)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    sent = io.BytesIO()
    encode_live(codec, AudioReader.of_stream(source, "a pipe"), sent, Watch())
    writer.join(10)
    os.close(source)
    return sent.getvalue()


def decoded(
    codec: Codec, data: bytes, piece: int = 1 << 16, options: ConversionOptions = FLOAT
) -> tuple[NDArray[np.float32], Converted]:
    """What a live stream sounds like (C, n) that comes in pieces of so many bytes."""
    played = io.BytesIO()
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    done = decode_live(codec, Header.from_bytes(data[:HEADER_BYTES]), pieces, played, options, Watch())
    played.seek(0)
    audio, rate = soundfile.read(played, dtype="float32", always_2d=True)
    assert rate == done.sample_rate
    return audio.T, done


@settings(max_examples=15)
@given(
    samples=st.integers(1, 20_000),
    rate=st.sampled_from([8_000, 22_050, 48_000, 96_000]),
    channels=st.integers(1, 2),
    cuts=st.lists(st.integers(0, 150_000), max_size=20),
    piece=st.sampled_from([1, 17, 500]),
)
def test_any_stream_is_that_of_the_whole_clip_to_the_bit(
    streaming: Codec,
    speech: NDArray[np.float32],
    samples: int,
    rate: int,
    channels: int,
    cuts: list[int],
    piece: int,
) -> None:
    audio = np.stack([speech[:samples], speech[-samples:]])[:channels]
    data = piped(streaming, audio, rate, cuts)
    whole = streaming.encode(audio, rate)
    codes, reader = read(data)
    assert np.array_equal(codes, whole.codes)
    assert (reader.header.samples, reader.header.sample_rate, reader.header.live) == (samples, rate, True)
    sound, done = decoded(streaming, data, piece)
    assert np.array_equal(sound, streaming.decode(whole))
    assert (done.samples, done.channels, done.gaps) == (samples, channels, ())


@pytest.fixture(scope="module")
def stream(streaming: Codec, speech: NDArray[np.float32]) -> tuple[NDArray[np.float32], bytes]:
    """What half a second sounds like, and its stream."""
    data = recorded(streaming, speech[None, :24_000])
    return decoded(streaming, data)[0], data


def test_what_is_right_is_heard_before_an_error(streaming: Codec, stream: tuple[NDArray[np.float32], bytes]) -> None:
    sound, data = stream
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    played = io.BytesIO()
    with pytest.raises(BitstreamError, match=r"chunk \d+ \(byte \d+\) is damaged"):
        decode_live(streaming, Header.from_bytes(data[:HEADER_BYTES]), [bytes(damaged)], played, FLOAT, Watch())
    played.seek(0)
    heard, _ = soundfile.read(played, dtype="float32")
    assert 5_000 < len(heard) < 15_000
    assert np.array_equal(heard, sound[0, : len(heard)])


@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_salvaging_goes_on_with_silence(streaming: Codec, speech: NDArray[np.float32], rate: int) -> None:
    data = recorded(streaming, speech[None, :24_000], rate)
    sound, _ = decoded(streaming, data)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    heard, done = decoded(streaming, bytes(damaged), options=SALVAGED)
    (gap,) = done.gaps
    start, stop = (round(latent * 320 * rate / 48_000) for latent in (gap.start, gap.stop))
    assert heard.shape == sound.shape and 0 < start < stop < 24_000
    assert not heard[:, start:stop].any()
    edge = 0 if rate == 48_000 else 2_000  # the resampler hears the gap coming
    assert np.array_equal(heard[:, : start - 400 - edge], sound[:, : start - 400 - edge])
    assert np.abs(heard[:, stop + 400 + edge :] - sound[:, stop + 400 + edge :]).max() < 1e-6


def test_a_stream_that_is_cut_is_an_error_or_ends_there(
    streaming: Codec, stream: tuple[NDArray[np.float32], bytes]
) -> None:
    sound, data = stream
    with pytest.raises(BitstreamError, match="without a trailer"):
        decoded(streaming, data[:-40])
    heard, done = decoded(streaming, data[:-40], options=SALVAGED)
    assert 20_000 < done.samples == heard.shape[1] < 24_000
    assert np.array_equal(heard, sound[:, : heard.shape[1]])


def test_other_models_are_refused(
    codec: Codec, streaming: Codec, stream: tuple[NDArray[np.float32], bytes], tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatchError, match="name the bundle"):
        decoded(codec, stream[1])
    soundfile.write(tmp_path / "a.wav", np.zeros(500), 48_000)
    with AudioReader(tmp_path / "a.wav") as reader, pytest.raises(SessionError, match="take a model of the family"):
        encode_live(codec, reader, io.BytesIO(), Watch())


def test_samples_beyond_full_scale_are_counted(streaming: Codec, stream: tuple[NDArray[np.float32], bytes]) -> None:
    sound, data = stream
    assert decoded(streaming, data, options=WAV)[1].clipped == (np.abs(sound) > 1).sum()
