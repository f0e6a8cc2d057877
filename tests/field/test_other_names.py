"""Audio under the name of another kind, as phones, browsers and people write it: what it holds is read."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from field_clips import LENGTH, RATE, assert_sounds_like, clip, encoded

from apcodec_deploy.audio.av_reader import AvReader
from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.errors import AudioError


def record(path: Path, container: str, codec: str) -> Path:
    """The clip as FFmpeg writes it."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        for start in range(0, LENGTH, 960):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(clip()[:, start : start + 960]), "fltp", "mono")
            frame.sample_rate, frame.pts = RATE, start
            for sent in av.AudioResampler(stream.codec_context.format, "mono", RATE).resample(frame):
                file.mux(stream.encode(sent))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg", "a.m4a", "A.WEBM"])
@pytest.mark.parametrize(
    ("container", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("matroska", "pcm_s16le"), ("adts", "aac")]
)
def test_what_ffmpeg_has_to_read_is_read_under_any_name(tmp_path: Path, name: str, container: str, codec: str) -> None:
    with open_audio(record(tmp_path / name, container, codec)) as reader:
        assert isinstance(reader, AvReader)
        audio = np.concatenate(list(reader.blocks()), axis=1)
    assert LENGTH <= audio.shape[1] < LENGTH + 4096
    assert_sounds_like(audio, clip(), late=1024 if container == "adts" else 0)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "AIFF", "W64"])
def test_what_we_read_ourselves_is_read_so_under_any_name(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(form, "VORBIS" if form == "OGG" else "PCM_16"))
    with open_audio(path) as reader:
        assert isinstance(reader, AudioReader)
        assert sum(block.shape[1] for block in reader.blocks()) == LENGTH


def test_a_length_is_not_believed_under_any_name(tmp_path: Path) -> None:
    path, data = tmp_path / "a.mp4", bytearray(encoded("WAV", "PCM_16"))
    struct.pack_into("<I", data, data.index(b"data") + 4, LENGTH // 2)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="neither chunks nor tags"):
        open_audio(path)


@pytest.mark.parametrize("name", ["a.wav", "a.m4a"])
@pytest.mark.parametrize("data", [b"", b"\xff", b"no audio at all", b"\xff\xf1\x50\x80"])
def test_what_is_no_audio_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with (
        pytest.raises(AudioError, match=f"{name}( cannot be read as audio:|: it is empty)"),
        open_audio(path) as reader,
    ):
        list(reader.blocks())
