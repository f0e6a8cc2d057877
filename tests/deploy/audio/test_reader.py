"""Audio files, whole and broken: what is read, and what is refused with which words."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.errors import AudioError

Audio = NDArray[np.float32]

LOSSLESS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAVEX", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
]
LOSSY = [("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III")]


def read(path: Path) -> Audio:
    """All of a file: (C, N)."""
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


def wav(data: bytes, *, declared: int | None = None, code: int = 1, bits: int = 16, channels: int = 1) -> bytes:
    """A WAV at 8 kHz by hand, whose header may declare another number of bytes than follow."""
    size = len(data) if declared is None else declared
    frame = channels * bits // 8
    form = struct.pack("<IHHIIHH", 16, code, channels, 8000, 8000 * frame, frame, bits)
    riff = min(size + 36, 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + data


@pytest.fixture(scope="module")
def stereo() -> Audio:
    """2.5 s of two unlike channels, tones in a little noise, at 48 kHz on the grid of 16 bits."""
    seconds = np.arange(120_000) / 48000
    tones = np.stack([0.3 * np.sin(2 * np.pi * 300 * seconds), 0.2 * np.sin(2 * np.pi * 440 * seconds)])
    noisy = tones + np.random.default_rng(0).normal(0, 0.003, tones.shape)
    return (np.rint(noisy * 32768) / 32768).astype(np.float32)


def write(path: Path, audio: Audio, form: str, subtype: str) -> bytes:
    """Write a file without this package; its bytes."""
    soundfile.write(path, audio.T, 48000, format=form, subtype=subtype)
    return path.read_bytes()


class TestWholeFiles:
    @pytest.mark.parametrize(("suffix", "form", "subtype"), LOSSLESS)
    def test_lossless_ones_are_read_exactly(
        self, tmp_path: Path, stereo: Audio, suffix: str, form: str, subtype: str
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        write(path, stereo, form, subtype)
        with AudioReader(path) as reader:
            assert (reader.sample_rate, reader.channels) == (48000, 2)
            blocks = list(reader.blocks())
        assert [block.shape for block in blocks] == [(2, 48000), (2, 48000), (2, 24000)]
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), stereo)

    @pytest.mark.parametrize(("suffix", "form", "subtype"), LOSSY)
    def test_lossy_ones_are_read_whole(
        self, tmp_path: Path, stereo: Audio, suffix: str, form: str, subtype: str
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        write(path, stereo, form, subtype)
        audio = read(path)
        assert audio.shape == stereo.shape
        assert np.sqrt(np.mean((audio - stereo) ** 2)) < 0.02

    @pytest.mark.parametrize(
        ("name", "rate", "seconds"),
        [
            ("speech_german_22k.wav", 22050, 3.009),
            ("speech_male_44k.flac", 44100, 3.695),
            ("music_44k.ogg", 44100, 6.0),
        ],
    )
    def test_the_examples(self, examples: Path, name: str, rate: int, seconds: float) -> None:
        with AudioReader(examples / name) as reader:
            assert reader.sample_rate == rate
        assert read(examples / name).shape[1] / rate == pytest.approx(seconds, abs=0.001)

    @pytest.mark.parametrize(
        ("code", "bits", "values", "expected"),
        [
            (1, 16, struct.pack("<3h", -32768, 0, 32767), [-1, 0, 32767 / 32768]),
            (1, 8, bytes([0, 128, 255]), [-1, 0, 127 / 128]),
            (3, 32, struct.pack("<3f", -1.5, 0.25, 2.0), [-1.5, 0.25, 2.0]),
        ],
    )
    def test_full_scale_is_one(
        self, tmp_path: Path, code: int, bits: int, values: bytes, expected: list[float]
    ) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(wav(values, code=code, bits=bits))
        np.testing.assert_array_equal(read(path), np.array([expected], np.float32))

    def test_channels_are_rows(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(wav(struct.pack("<6h", 1, 2, 3, 4, 5, 6), channels=3))
        np.testing.assert_array_equal(read(path) * 32768, [[1, 4], [2, 5], [3, 6]])

    def test_what_follows_the_audio_is_ignored(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(wav(struct.pack("<3h", 1, 2, 3)) + b"LIST" + struct.pack("<I", 4) + b"INFO")
        assert read(path).shape == (1, 3)

    def test_the_suffix_does_not_matter(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp3"
        path.write_bytes(wav(struct.pack("<3h", 1, 2, 3)))
        assert read(path).shape == (1, 3)


class TestStreamedFiles:
    """What programs write that do not know the length and cannot go back to fill it in."""

    @pytest.mark.parametrize("declared", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x80000000, 0x7FFFFFFF])
    def test_a_wav_of_unknown_size(self, tmp_path: Path, declared: int) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(wav(bytes(2000), declared=declared))
        assert read(path).shape == (1, 1000)

    @pytest.mark.parametrize("frame", [2, 3, 4, 8])
    def test_a_wav_that_sox_wrote_to_a_pipe(self, tmp_path: Path, frame: int) -> None:
        """SoX means an unknown size by 0x7ffff000, rounded down to whole frames."""
        path = tmp_path / "a.wav"
        bits = 24 if frame == 3 else 16
        data = wav(bytes(24_000), declared=0x7FFFF000 // frame * frame, bits=bits, channels=frame * 8 // bits)
        path.write_bytes(data)
        assert read(path).shape == (frame * 8 // bits, 24_000 // frame)

    def test_a_flac_of_unknown_length(self, tmp_path: Path, stereo: Audio) -> None:
        path = tmp_path / "a.flac"
        data = bytearray(write(path, stereo, "FLAC", "PCM_16"))
        # The last 36 of the 64 bits from byte 18 on count the samples; 0 means that nobody knows.
        packed = int.from_bytes(data[18:26], "big")
        assert packed % (1 << 36) == stereo.shape[1]
        data[18:26] = (packed >> 36 << 36).to_bytes(8, "big")
        path.write_bytes(data)
        np.testing.assert_array_equal(read(path), stereo)


class TestBrokenFiles:
    @pytest.mark.parametrize("name", ["missing.wav", "folder"])
    def test_what_cannot_be_opened_is_named(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(AudioError, match=rf"{name} (cannot be read: \w|is no regular file)"):
            AudioReader(tmp_path / name)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").touch()
        with pytest.raises(AudioError, match=r"a\.wav cannot be read as audio: it is empty"):
            AudioReader(tmp_path / "a.wav")

    @pytest.mark.parametrize(
        "content", [b"Hello, world.\n" * 100, b"x", b"RIFF", b"OggS", b"fLaC", b"ID3", bytes(5000)]
    )
    def test_a_file_that_is_no_audio(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(AudioError, match=r"a\.wav cannot be read as audio: \w"):
            AudioReader(tmp_path / "a.wav")

    @pytest.mark.parametrize(
        "data", [wav(b""), wav(b"", declared=0xFFFFFFFF), wav(b"", code=3, bits=32)], ids=["pcm", "streamed", "float"]
    )
    def test_a_file_without_samples(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.wav").write_bytes(data)
        with pytest.raises(AudioError, match=r"a\.wav holds no samples"):
            read(tmp_path / "a.wav")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("frame", "channel"), [(0, 0), (3, 1), (9000, 1)])
    def test_a_sample_that_is_no_number_is_named(self, tmp_path: Path, value: float, frame: int, channel: int) -> None:
        samples = np.zeros((9001, 2), "<f4")
        samples[frame, channel] = value
        (tmp_path / "a.wav").write_bytes(wav(samples.tobytes(), code=3, bits=32, channels=2))
        with pytest.raises(AudioError, match=f"sample {frame} of channel {channel} is {value}, the first of 1 "):
            read(tmp_path / "a.wav")

    @pytest.mark.parametrize("rate", [1, 999, 768_001])
    def test_a_rate_that_cannot_be_resampled(self, tmp_path: Path, rate: int) -> None:
        data = bytearray(wav(bytes(100)))
        data[24:28] = struct.pack("<I", rate)
        (tmp_path / "a.wav").write_bytes(data)
        with pytest.raises(AudioError, match=rf"a\.wav: a sample rate of {rate} Hz"):
            AudioReader(tmp_path / "a.wav")

    @pytest.mark.parametrize("missing", [1, 2, 1000, 1999, 2000])
    def test_a_cut_wav_says_what_it_lacks(self, tmp_path: Path, missing: int) -> None:
        (tmp_path / "a.wav").write_bytes(wav(bytes(2000))[: -missing or None])
        with pytest.raises(AudioError, match=f"is cut: it declares 2000 bytes of audio and holds {2000 - missing}"):
            read(tmp_path / "a.wav")

    @pytest.mark.parametrize(("suffix", "form", "subtype"), [*LOSSLESS, *LOSSY])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_cut_file_is_not_a_shorter_one(
        self, tmp_path: Path, stereo: Audio, suffix: str, form: str, subtype: str, share: float
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        data = write(path, stereo, form, subtype)
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(AudioError, match=path.name):
            read(path)

    @pytest.mark.parametrize("form", ["VORBIS", "OPUS"])
    def test_an_ogg_cut_between_two_pages_is_not_a_shorter_one(self, tmp_path: Path, stereo: Audio, form: str) -> None:
        path = tmp_path / "a.ogg"
        data = write(path, stereo, "OGG", form)
        path.write_bytes(data[: data.rindex(b"OggS")])
        with pytest.raises(AudioError, match=r"a\.ogg: the file is cut"):
            read(path)

    def test_a_damaged_flac_says_where(self, tmp_path: Path, stereo: Audio) -> None:
        path = tmp_path / "a.flac"
        data = bytearray(write(path, stereo, "FLAC", "PCM_16"))
        middle = len(data) // 2
        data[middle : middle + 2000] = bytes(2000)
        path.write_bytes(data)
        with pytest.raises(AudioError, match=r"a\.flac is damaged after 1\.00 s: \w"):
            read(path)

    def test_a_file_is_closed_after_it_was_refused(self, tmp_path: Path) -> None:
        """An unclosed file would warn, and a warning fails the tests."""
        (tmp_path / "a.wav").write_bytes(wav(bytes(2000))[:-1])
        for _ in range(3):
            with pytest.raises(AudioError):
                AudioReader(tmp_path / "a.wav")
