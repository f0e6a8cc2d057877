"""WAV, AIFF, AU, CAF, W64, RF64 and MP4 of another length than they say: all is read, or the file is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field_clips import ID3, ID3V1, LENGTH, RATE, Read, both_ways, clip, encoded, from_path, from_pipe

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError

SIZES = {
    "WAV": (b"data", 4, "<I"),
    "WAVEX": (b"data", 4, "<I"),
    "AIFF": (b"SSND", 4, ">I"),
    "AU": (b".snd", 8, ">I"),
    "CAF": (b"data", 4, ">q"),
    "W64": (b"data", 16, "<q"),
    "RF64": (b"ds64", 16, "<q"),
}
"""Where the size of the audio stands: how far behind which letters, and how it is written."""


def declaring(data: bytes, form: str, change: Callable[[int], int]) -> bytes:
    """A file whose header declares another number of bytes."""
    letters, offset, written = SIZES[form]
    place = data.index(letters) + offset
    (size,) = struct.unpack_from(written, data, place)
    field = struct.pack(written, change(size))
    return data[:place] + field + data[place + len(field) :]


@both_ways
@pytest.mark.parametrize("form", SIZES)
@pytest.mark.parametrize("unknown", [0, -1])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_size_that_was_never_filled_in(tmp_path: Path, read: Read, form: str, unknown: int, subtype: str) -> None:
    """A crashed recorder leaves 0; a pipe makes programs write all ones."""
    path, audio = tmp_path / "a.wav", np.repeat(clip(), 2, axis=0)
    written = SIZES[form][2]
    value = (1 << 32) - 1 if unknown and written[1] == "I" else unknown
    path.write_bytes(declaring(encoded(form, subtype, channels=2), form, lambda _: value))
    np.testing.assert_array_equal(read(path), audio)
    np.testing.assert_array_equal(from_path(path, Span(0.5, 1.0)), audio[:, 24_000:48_000])


@both_ways
@pytest.mark.parametrize("form", [form for form, (_, _, written) in SIZES.items() if written[1] == "q"])
@pytest.mark.parametrize("unknown", [(1 << 63) - 1, -(1 << 63)])
def test_a_size_at_the_end_of_all_numbers(tmp_path: Path, read: Read, form: str, unknown: int) -> None:
    """FFmpeg writes the first one into a W64 that goes into a pipe."""
    path = tmp_path / "a.wav"
    path.write_bytes(declaring(encoded(form, "PCM_16"), form, lambda _: unknown))
    np.testing.assert_array_equal(read(path), clip())


@both_ways
@pytest.mark.parametrize("form", SIZES)
def test_more_than_declared_is_refused(tmp_path: Path, read: Read, form: str) -> None:
    path = tmp_path / "a.wav"
    data = encoded(form, "PCM_16")
    for change in (lambda size: size // 8 * 2, lambda size: size - 32):
        path.write_bytes(declaring(data, form, change))
        with pytest.raises(AudioError, match=r"a\.wav: its header declares \d+ bytes .* follow from byte \d+ on"):
            read(path)


@both_ways
@pytest.mark.parametrize("form", SIZES)
def test_what_is_cut_is_refused(tmp_path: Path, read: Read, form: str) -> None:
    path, data = tmp_path / "a.wav", encoded(form, "PCM_16")
    for broken in (data[:-1], data[: len(data) // 2], declaring(data, form, lambda size: size + 1000)):
        path.write_bytes(broken)
        with pytest.raises(AudioError, match=r"a\.wav: the file is cut: it declares \d+ bytes of audio and holds"):
            read(path)


@both_ways
@pytest.mark.parametrize("form", SIZES)
def test_tags_around_it(tmp_path: Path, read: Read, form: str) -> None:
    path = tmp_path / "a.wav"
    for after in (b"", ID3V1, ID3):
        path.write_bytes(ID3 + encoded(form, "PCM_16") + after)
        np.testing.assert_array_equal(read(path), clip())


@both_ways
@pytest.mark.parametrize("form", SIZES)
def test_two_in_one(tmp_path: Path, read: Read, form: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(2 * encoded(form, "PCM_16"))
    np.testing.assert_array_equal(read(path), np.tile(clip(), 2))


@both_ways
@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_chunks_behind_the_audio_are_no_audio(tmp_path: Path, read: Read, padding: bytes) -> None:
    """An odd number of bytes, padded as it should be, or not, as some programs do."""
    audio = np.array([[0.5, -0.5, 0.25]], np.float32)
    head = declaring(encoded("WAV", "PCM_U8"), "WAV", lambda _: 3)[:44]
    path = tmp_path / "a.wav"
    for chunk in (b"LIST\x04\0\0\0INFO", b"id3 \x0a\0\0\0" + ID3[:10], b"bext\x03\0\0\0abc\0LIST\x04\0\0\0INFO"):
        path.write_bytes(head + bytes([192, 64, 160]) + padding + chunk)
        np.testing.assert_array_equal(read(path), audio)


@both_ways
def test_a_second_chunk_of_audio_is_refused(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("WAV", "PCM_16") + b"data\x04\0\0\0abcd")
    with pytest.raises(AudioError, match="a second chunk of audio"):
        read(path)


def test_beyond_4_gb_the_size_has_wrapped(tmp_path: Path) -> None:
    """A sparse file: what is not written takes no room."""
    path, size = tmp_path / "a.wav", (1 << 32) + 200_000
    head = declaring(encoded("WAV", "PCM_16"), "WAV", lambda _: size % (1 << 32))[:44]
    with path.open("wb") as file:
        file.write(head)
        file.seek(44 + size - 4)
        file.write(struct.pack("<hh", 1, 2))
    try:
        with AudioReader(path) as reader:
            assert reader.declared_samples == size // 2
        start = (size // 2 - 4) / RATE
        np.testing.assert_array_equal(from_path(path, Span(start)) * 32768, [[0, 0, 1, 2]])
    finally:
        path.unlink()


def test_compressed_samples(tmp_path: Path) -> None:
    path, data = tmp_path / "a.wav", encoded("WAV", "IMA_ADPCM")
    path.write_bytes(data)
    expected, _ = soundfile.read(path, dtype="float32")
    path.write_bytes(declaring(data, "WAV", lambda _: 0))
    np.testing.assert_array_equal(from_path(path)[0], expected)
    with pytest.raises(AudioError, match="its IMA_ADPCM does not tell its own length"):
        from_pipe(path)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC"])
def test_a_long_pipe(tmp_path: Path, form: str) -> None:
    """Longer than what is kept of it."""
    audio = (np.random.default_rng(0).integers(-9000, 9000, 2_000_000) / 32768).astype(np.float32)
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, RATE, format=form, subtype="PCM_16")
    np.testing.assert_array_equal(from_pipe(path)[0], audio)


def test_a_nist_sphere_of_another_length(tmp_path: Path) -> None:
    """As in old speech corpora, under .wav."""
    path = tmp_path / "a.wav"
    soundfile.write(path, clip()[0], 16_000, format="NIST", subtype="PCM_16")
    data = path.read_bytes()
    np.testing.assert_array_equal(from_path(path), clip())
    path.write_bytes(data[:-2])
    with pytest.raises(AudioError, match=f"{LENGTH - 1} of {LENGTH} samples are there"):
        from_path(path)
    path.write_bytes(data + data[-100:])
    assert from_path(path).shape == (1, LENGTH + 50)


def test_two_mp4_in_one_are_refused(tmp_path: Path) -> None:
    """FFmpeg reads the first only."""
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for start in range(0, LENGTH, 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(clip()[:, start : start + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_audio(path) as reader:
        assert sum(block.shape[1] for block in reader.blocks()) >= LENGTH
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(AudioError, match=r"a\.m4a: a second MP4 follows"):
        open_audio(path)
