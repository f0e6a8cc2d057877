"""Written audio files, read back without this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.audio.writer import AudioFormat, AudioWriter
from apcodec_deploy.errors import AudioError, OutputError

Audio = NDArray[np.float32]

WRITE_AT_ONCE = """
import sys
from pathlib import Path
import numpy as np
from apcodec_deploy.audio.writer import AudioFormat, AudioWriter
from apcodec_deploy.errors import OutputError
path, subtype, rate, channels, seconds = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
audio = np.random.default_rng(0).normal(0, 0.1, (channels, rate * seconds)).astype(np.float32)
try:
    with AudioWriter(path, AudioFormat.of("ogg", subtype), rate, channels, audio.shape[1]) as writer:
        writer.write(audio)
except OutputError as error:
    print("refused:", error)
else:
    print("written")
"""


def write(path: Path, audio: Audio, name: str, subtype: str | None = None, rate: int = 48000) -> int:
    """Write a file; how many samples were clipped."""
    with AudioWriter(path, AudioFormat.of(name, subtype), rate, audio.shape[0], audio.shape[1]) as writer:
        writer.write(audio)
    return writer.clipped


def write_elsewhere(path: Path, subtype: str, rate: int, channels: int, seconds: int) -> str:
    """Write noise as OGG in a process of its own, which libsndfile's encoder may crash; what it said."""
    command = [sys.executable, "-c", WRITE_AT_ONCE, str(path), subtype, str(rate), str(channels), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    return done.stdout


class TestFormat:
    def test_each_name_has_a_usual_subtype(self) -> None:
        assert [AudioFormat.of(name).subtype for name in ("wav", "flac", "ogg")] == ["PCM_16", "PCM_16", "VORBIS"]
        assert AudioFormat.of("flac").suffix == ".flac"

    def test_subtypes_are_named_in_any_case(self) -> None:
        assert AudioFormat.of("wav", "float") == AudioFormat("wav", "FLOAT")

    @pytest.mark.parametrize("name", ["mp3", "WAV", "", ".wav"])
    def test_another_name_is_refused(self, name: str) -> None:
        with pytest.raises(AudioError, match=r"no format is called .*; there are: wav, flac, ogg"):
            AudioFormat.of(name)

    @pytest.mark.parametrize(
        ("name", "subtype"), [("flac", "FLOAT"), ("flac", "PCM_32"), ("wav", "VORBIS"), ("ogg", "PCM_16"), ("wav", "x")]
    )
    def test_another_subtype_is_refused_with_those_there_are(self, name: str, subtype: str) -> None:
        known = {"flac": "PCM_24", "wav": "FLOAT", "ogg": "OPUS"}[name]
        with pytest.raises(AudioError, match=rf"{name} has no subtype {subtype.upper()}; it has: .*{known}"):
            AudioFormat.of(name, subtype)

    @pytest.mark.parametrize(
        ("subtype", "channels", "width"), [("PCM_16", 1, 2), ("PCM_24", 2, 3), ("FLOAT", 6, 4), ("DOUBLE", 1, 8)]
    )
    def test_a_wav_beyond_4_gb_becomes_rf64(self, subtype: str, channels: int, width: int) -> None:
        form = AudioFormat.of("wav", subtype)
        frame = channels * width
        assert form.container(channels, (2**32 - 2**20) // frame) == "WAV"
        assert form.container(channels, 2**32 // frame) == "RF64"
        assert form.container(channels, 2**50) == "RF64"

    @pytest.mark.parametrize(("name", "container"), [("flac", "FLAC"), ("ogg", "OGG")])
    def test_the_others_have_no_such_limit(self, name: str, container: str) -> None:
        assert AudioFormat.of(name).container(8, 2**40) == container


class TestSamples:
    @pytest.mark.parametrize(
        ("name", "subtype", "bits"),
        [
            ("wav", "PCM_16", 16),
            ("wav", "PCM_24", 24),
            ("wav", "PCM_U8", 8),
            ("flac", "PCM_16", 16),
            ("flac", "PCM_S8", 8),
        ],
    )
    def test_integers_come_back_exactly(self, tmp_path: Path, name: str, subtype: str, bits: int) -> None:
        levels = 2.0 ** (bits - 1)
        audio = (np.arange(-levels, levels, max(1, levels // 20_000)) / levels).astype(np.float32)[None]
        assert write(tmp_path / "a", audio, name, subtype) == 0
        back, _ = soundfile.read(tmp_path / "a", dtype="float32")
        np.testing.assert_array_equal(back, audio[0])

    @pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
    def test_floats_are_not_clipped(self, tmp_path: Path, subtype: str) -> None:
        audio = np.array([[-3.5, -1.0, 1e-20, 1.0, 1.0000001, 1e10]], np.float32)
        assert write(tmp_path / "a.wav", audio, "wav", subtype) == 0
        back, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
        np.testing.assert_array_equal(back, audio[0])

    @pytest.mark.parametrize("name", ["wav", "flac"])
    def test_integers_are_clipped_and_counted(self, tmp_path: Path, name: str) -> None:
        audio = np.array([[-1.5, -1.00001, -1.0, -0.5, 0.0], [0.5, 1.0, 1.00001, 3.0, -1e30]], np.float32)
        assert write(tmp_path / "a", audio, name) == 5
        back, _ = soundfile.read(tmp_path / "a", dtype="int16")
        assert back.T.tolist() == [[-32768, -32768, -32768, -16384, 0], [16384, 32767, 32767, 32767, -32768]]

    def test_clipped_samples_add_up_over_writes(self, tmp_path: Path) -> None:
        with AudioWriter(tmp_path / "a.wav", AudioFormat.of("wav"), 8000, 1, 6) as writer:
            for block in ([2.0, 0.0], [-2.0, 3.0], [0.1, 0.2]):
                writer.write(np.array([block], np.float32))
        assert writer.clipped == 3

    def test_clipping_leaves_the_callers_array_alone(self, tmp_path: Path) -> None:
        audio = np.array([[2.0, -2.0]], np.float32)
        write(tmp_path / "a.wav", audio, "wav")
        assert audio.tolist() == [[2.0, -2.0]]

    @pytest.mark.parametrize(
        "subtype", ["PCM_16", "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_32"]
    )
    def test_loud_audio_never_wraps_around(self, tmp_path: Path, subtype: str) -> None:
        """Beyond full scale an integer that is not clipped changes its sign."""
        loud = np.full((1, 8000), 1.2, np.float32)
        try:
            form = AudioFormat.of("wav", subtype)
        except AudioError:
            return  # what is not offered cannot wrap around
        with AudioWriter(tmp_path / "a.wav", form, 8000, 1, 8000) as writer:
            writer.write(loud)
        back, _ = soundfile.read(tmp_path / "a.wav")
        assert back[1000:7000].min() > 0.9
        assert writer.clipped == 8000

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
    def test_a_sample_that_is_no_number_is_refused(self, tmp_path: Path, value: float, subtype: str) -> None:
        audio = np.zeros((2, 100), np.float32)
        audio[1, 99] = value
        with pytest.raises(AudioError, match="not finite"):
            write(tmp_path / "a.wav", audio, "wav", subtype)

    @given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8))
    def test_blocks_of_any_size_give_the_same_file(
        self, tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
    ) -> None:
        folder = tmp_path_factory.mktemp("blocks")
        audio = np.random.default_rng(0).normal(0, 0.1, (2, sum(sizes))).astype(np.float32)
        write(folder / "once.wav", audio, "wav", rate=100)
        with AudioWriter(folder / "blocks.wav", AudioFormat.of("wav"), 100, 2, sum(sizes)) as writer:
            for block in np.split(audio, np.cumsum(sizes)[:-1], axis=1):
                writer.write(block)
        assert (folder / "blocks.wav").read_bytes() == (folder / "once.wav").read_bytes()

    @pytest.mark.parametrize(("name", "subtype"), [("ogg", "VORBIS"), ("ogg", "OPUS")])
    def test_lossy_files_keep_length_and_sound(self, tmp_path: Path, name: str, subtype: str) -> None:
        seconds = np.arange(100_000) / 48000
        tones = np.stack([np.sin(2 * np.pi * 440 * seconds), np.sin(2 * np.pi * 300 * seconds)]) / 3
        audio = tones.astype(np.float32)
        assert write(tmp_path / "a.ogg", audio, name, subtype) == 0
        back, rate = soundfile.read(tmp_path / "a.ogg")
        assert (back.shape, rate) == ((100_000, 2), 48000)
        assert np.sqrt(np.mean((back.T - audio) ** 2)) < 0.02


class TestLimits:
    @pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
    def test_a_minute_at_once_does_not_crash(self, tmp_path: Path, subtype: str) -> None:
        assert write_elsewhere(tmp_path / "a.ogg", subtype, 48000, 1, 60) == "written\n"
        assert soundfile.info(tmp_path / "a.ogg").frames == 48000 * 60

    @pytest.mark.parametrize(("rate", "channels"), [(200_001, 1), (768_000, 1), (48000, 256), (8000, 300)])
    def test_more_than_vorbis_takes_is_refused_and_does_not_crash(
        self, tmp_path: Path, rate: int, channels: int
    ) -> None:
        said = write_elsewhere(tmp_path / "a.ogg", "VORBIS", rate, channels, 1)
        assert said.startswith(f"refused: ogg VORBIS cannot hold {channels} channels at {rate} Hz")

    @pytest.mark.parametrize(
        ("name", "subtype", "rate", "channels"),
        [("flac", None, 48000, 9), ("flac", None, 700_000, 1), ("ogg", "OPUS", 44100, 1), ("ogg", "OPUS", 22050, 2)],
    )
    def test_what_a_format_cannot_hold_is_refused(
        self, tmp_path: Path, name: str, subtype: str | None, rate: int, channels: int
    ) -> None:
        form = AudioFormat.of(name, subtype)
        with pytest.raises(OutputError, match=rf"{name} {form.subtype} cannot hold {channels} channels at {rate} Hz"):
            AudioWriter(tmp_path / "a", form, rate, channels, 100)

    def test_eight_channels_fit_into_a_flac(self, tmp_path: Path) -> None:
        audio = (np.arange(80).reshape(8, 10) / 128).astype(np.float32)
        write(tmp_path / "a.flac", audio, "flac")
        np.testing.assert_array_equal(soundfile.read(tmp_path / "a.flac")[0].T, audio)

    def test_a_folder_that_is_not_there_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):  # whoever writes a file whole turns it into an error of ours
            AudioWriter(tmp_path / "missing" / "a.wav", AudioFormat.of("wav"), 48000, 1, 100)
