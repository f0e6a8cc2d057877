"""MP3s that are longer or shorter than they say: all of the audio is read, or the file is refused."""

from __future__ import annotations

import functools
import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field_clips import ID3, ID3V1, LENGTH, RATE, Read, assert_sounds_like, both_ways, clip, from_path

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError

DELAY = 1105
"""Samples that LAME and a decoder put in front, which only a header says."""
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)
JUNK = b"\1junk" * 100


@functools.cache
def mp3(*, tagged: bool = False, rate: int = RATE, silence: int = 0) -> bytes:
    """The clip behind silence, at a variable bitrate; without a Xing header, as in a pipe, unless ``tagged``."""
    audio = np.concatenate([np.zeros((1, silence), np.float32), clip()], axis=1)
    file = io.BytesIO()
    options = {"write_xing": str(int(tagged)), "id3v2_version": "0"}
    with av.open(file, "w", format="mp3", options=options) as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="mono", options={"flags": "+qscale"})
        stream.codec_context.global_quality = 4 * 118
        for start in range(0, audio.shape[1], 1152):
            block = np.ascontiguousarray(audio[:, start : start + 1152])
            frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@functools.cache
def length_of(data: bytes) -> int:
    """Samples in the frames of an MP3, which FFmpeg counts."""
    with av.open(io.BytesIO(data)) as container:
        return 1152 * sum(1 for packet in container.demux(audio=0) if packet.size)


@both_ways
@pytest.mark.parametrize("silence", [0, RATE])
def test_variable_bitrate_without_a_header(tmp_path: Path, read: Read, silence: int) -> None:
    path, data = tmp_path / "a.mp3", mp3(silence=silence)
    path.write_bytes(data)
    whole = read(path)
    assert whole.shape == (1, length_of(data))
    assert_sounds_like(whole, clip(), late=silence + DELAY)


def test_its_length_is_known_and_its_parts_are_right(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(silence=RATE))
    whole = from_path(path)
    with AudioReader(path) as reader:
        assert reader.declared_samples == whole.shape[1]
    for start, end in ((0.5, 1.2), (1.05, 1.9), (2.1, None)):
        part = from_path(path, Span(start, end))
        stop = None if end is None else round(end * RATE)
        np.testing.assert_allclose(part, whole[:, round(start * RATE) : stop], atol=1e-6)


@both_ways
@pytest.mark.parametrize("between", [b"", ID3, ID3V1, ID3V1 + ID3, bytes(3000)])
@pytest.mark.parametrize("tagged", [(False, False), (True, True), (True, False), (False, True)])
def test_two_in_one(tmp_path: Path, read: Read, between: bytes, tagged: tuple[bool, bool]) -> None:
    path = tmp_path / "a.mp3"
    first, second = (mp3(tagged=each) for each in tagged)
    lengths = [LENGTH if each else length_of(mp3()) for each in tagged]
    path.write_bytes(ID3 + first + between + second + ID3V1)
    whole = read(path)
    assert whole.shape == (1, sum(lengths))
    for place, each in zip((0, lengths[0]), tagged, strict=True):
        assert_sounds_like(whole[:, place:], clip(), late=0 if each else DELAY)


def test_one_with_a_header_is_as_long_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(tagged=True))
    expected, _ = soundfile.read(path, dtype="float32")
    assert len(expected) == LENGTH
    np.testing.assert_allclose(from_path(path)[0], expected, atol=1e-6)


@both_ways
@pytest.mark.parametrize(("before", "after"), [(JUNK, b""), (b"", JUNK), (b"", APE + ID3V1)])
def test_what_is_no_sound_around_it(tmp_path: Path, read: Read, before: bytes, after: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(before + mp3() + after)
    assert read(path).shape == (1, length_of(mp3()))


@both_ways
@pytest.mark.parametrize("tagged", [False, True])
def test_what_is_cut_or_broken_is_refused(tmp_path: Path, read: Read, tagged: bool) -> None:
    path, data = tmp_path / "a.mp3", mp3(tagged=tagged)
    path.write_bytes(data[: len(data) // 2 + 1])
    with pytest.raises(AudioError, match=r"a\.mp3: the file is cut: .* MPEG frame"):
        read(path)
    path.write_bytes(data + JUNK + data)
    with pytest.raises(AudioError, match=r"500 bytes from byte \d+ on are no MPEG audio"):
        read(path)


@both_ways
@pytest.mark.parametrize("frames", [2, 3])
def test_very_short_ones(tmp_path: Path, read: Read, frames: int) -> None:
    path, data = tmp_path / "a.mp3", mp3()
    with av.open(io.BytesIO(data)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.size]
    path.write_bytes(ID3 + data[: places[frames]] + ID3V1)
    assert read(path).shape == (1, 1152 * frames)


@both_ways
def test_a_header_that_counts_more_than_is_there(tmp_path: Path, read: Read) -> None:
    """Cut between two frames, so that nothing else is wrong."""
    path, data = tmp_path / "a.mp3", mp3(tagged=True)
    with av.open(io.BytesIO(data)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.size]
    path.write_bytes(data[: places[len(places) // 2]])
    with pytest.raises(AudioError, match=r"the file is cut: \d+ of \d+ MPEG frames are there"):
        read(path)


@both_ways
def test_another_rate_in_the_same_file_is_refused(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3() + mp3(rate=44_100))
    with pytest.raises(AudioError, match="changes from 48000 Hz with 1 channel to 44100 Hz"):
        read(path)


@both_ways
def test_a_lone_head_of_a_frame_is_no_mp3(tmp_path: Path, read: Read) -> None:
    """Text of UTF-16 begins with bytes like one, and any file may end with some."""
    path, data = tmp_path / "a.mp3", mp3()
    for other in ("no audio".encode("utf-16"), bytes(range(256)) * 9 + data[:4]):
        path.write_bytes(other)
        with pytest.raises(AudioError, match="cannot be read as audio"):
            read(path)
    path.write_bytes(data + JUNK + data[:4])
    assert read(path).shape == (1, length_of(data))
    path.write_bytes(data[: data.index(b"\xff\xfb", 2) + 20])
    with pytest.raises(AudioError, match="the file is cut"):
        read(path)


@both_ways
@pytest.mark.parametrize("tagged", [False, True])
def test_an_mp3_in_a_wav(tmp_path: Path, read: Read, tagged: bool) -> None:
    """As programs of broadcasters write it; the number of samples that its header says is a guess."""
    path, data = tmp_path / "a.wav", mp3(tagged=tagged)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8000, 1, 0, 12, 1, 2, 1152, 1, 1393)
    chunks = [(b"fmt ", form), (b"fact", struct.pack("<I", 2 * LENGTH)), (b"data", data), (b"LIST", b"INFO")]
    body = b"".join(name + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for name, each in chunks)
    whole = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
    path.write_bytes(whole)
    assert read(path).shape == (1, LENGTH if tagged else length_of(data))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match="the file is cut"):
        read(path)
    path.write_bytes(whole.replace(data, bytes(len(data))))
    with pytest.raises(AudioError, match="its header declares MPEG audio, and none follows"):
        read(path)
