"""WAV to a pipe against the file that ``AudioWriter`` makes of the same audio."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.wav_stream import WavStream
from apcodec_deploy.audio.writer import AudioFormat, AudioWriter
from apcodec_deploy.errors import AudioError, OutputError

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]


@pytest.fixture(scope="module")
def audio() -> NDArray[np.float32]:
    """Two channels, some of it beyond full scale."""
    return (np.random.default_rng(0).normal(size=(2, 3000)) / 2).astype(np.float32)


def streamed(audio: NDArray[np.float32], form: AudioFormat, file: io.BytesIO) -> WavStream:
    stream = WavStream(file, form, 22_050, 2)
    for start in range(0, audio.shape[1], 37):
        stream.write(audio[:, start : start + 37])
    return stream


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_readers_find_what_a_file_would_hold(audio: NDArray[np.float32], subtype: str, tmp_path: Path) -> None:
    form, sent = AudioFormat.of("wav", subtype), io.BytesIO()
    stream = streamed(audio, form, sent)
    with AudioWriter(tmp_path / "file.wav", form, 22_050, 2, audio.shape[1]) as writer:
        writer.write(audio)
    expected, _ = soundfile.read(tmp_path / "file.wav", dtype="float32")
    (tmp_path / "sent.wav").write_bytes(sent.getvalue())
    found, rate = soundfile.read(tmp_path / "sent.wav", dtype="float32")
    assert (rate, soundfile.info(tmp_path / "sent.wav").subtype) == (22_050, subtype)
    assert np.array_equal(found, expected)
    with AudioReader(tmp_path / "sent.wav") as reader:
        assert np.array_equal(np.concatenate(list(reader.blocks()), axis=1).T, expected)
    assert stream.clipped == writer.clipped == (0 if subtype in ("FLOAT", "DOUBLE") else (np.abs(audio) > 1).sum())


def test_both_sizes_say_that_nobody_knows_them(audio: NDArray[np.float32]) -> None:
    sent = io.BytesIO()
    streamed(audio, AudioFormat.of("wav"), sent)
    data = sent.getvalue()
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff" and data[36:40] == b"data"
    with wave.open(io.BytesIO(data)) as read:
        assert len(read.readframes(1_000_000)) == 2 * 2 * audio.shape[1]


def test_every_block_leaves_at_once(audio: NDArray[np.float32]) -> None:
    sent = io.BytesIO()
    buffered = io.BufferedWriter(sent, 1 << 20)  # type: ignore[arg-type]  # a file, for all that it does here
    stream = WavStream(buffered, AudioFormat.of("wav"), 22_050, 2)
    assert len(sent.getvalue()) == 44
    for length in (1, 320, 7):
        before = len(sent.getvalue())
        stream.write(audio[:, :length])
        assert len(sent.getvalue()) == before + 4 * length


def test_what_no_wav_can_hold_is_refused() -> None:
    with pytest.raises(OutputError, match="cannot hold"):
        WavStream(io.BytesIO(), AudioFormat.of("wav"), 48_000, 5000)
    stream = WavStream(io.BytesIO(), AudioFormat.of("wav"), 48_000, 1)
    with pytest.raises(AudioError, match="not finite"):
        stream.write(np.full((1, 3), np.nan, np.float32))
