"""One file converted: what arrays give, in any format, refused before the work where it cannot be held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import CODES, WAV, Audio, wav

from apcodec_deploy import Codec, EncodedAudio, load
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.transcoding.conversion import ConversionOptions, convert
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import run
from apcodec_deploy.transcoding.report import Outcome
from apcodec_deploy.transcoding.watch import Watch


def test_files_decode_to_what_arrays_decode_to(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    speech = speech[60_000:95_000]
    source = wav(tmp_path / "a.wav", np.stack([speech, speech[::-1]], axis=1), 44_100, "FLOAT")
    convert(codec, source, tmp_path / "a.apc", replace(CODES, window=0.5))
    encoded = codec.encode(np.stack([speech, speech[::-1]]), 44_100, window=0.5)
    assert len(list(encoded.header.layout.windows(encoded.header.latents))) == 2
    expected = codec.decode(encoded)
    np.testing.assert_array_equal(EncodedAudio.load(tmp_path / "a.apc").codes, encoded.codes)
    options = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"), window=0.5)
    convert(codec, tmp_path / "a.apc", tmp_path / "codes.wav", options)
    convert(codec, source, tmp_path / "audio.wav", options)
    for name in ("codes.wav", "audio.wav"):
        decoded, rate = soundfile.read(tmp_path / name, dtype="float32")
        assert rate == 44_100
        np.testing.assert_array_equal(decoded.T, expected)


@pytest.mark.parametrize("to", ["wav", "flac", "ogg"])
def test_every_format_has_the_source_length_and_rate(codec: Codec, tmp_path: Path, speech: Audio, to: str) -> None:
    source = wav(tmp_path / "a.wav", speech[:20_011], 44_100)
    convert(codec, source, tmp_path / f"b.{to}", ConversionOptions(form=AudioFormat.of(to)))
    info = soundfile.info(tmp_path / f"b.{to}")
    assert (info.frames, info.samplerate, info.channels) == (20_011, 44_100, 1)


@pytest.mark.slow
def test_codes_become_arrays_from_audio_and_from_codes(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    wav(tmp_path / "in" / "a.wav", np.stack([speech, speech[::-1]], axis=1), 44_100, "FLOAT")
    encoded = codec.encode(np.stack([speech, speech[::-1]]), 44_100)
    encoded.save(tmp_path / "in" / "b.apc")
    tasks = plan_folder(tmp_path / "in", tmp_path / "out", "npy")
    arrays = ConversionOptions(form=None, arrays=True)
    assert arrays.to == "npy"
    report = run(codec, tasks, arrays)
    assert [
        (result.converted.samples, result.converted.sample_rate) for result in report.results if result.converted
    ] == [(len(speech), 44_100)] * 2
    for name in ("a.wav.npy", "b.npy"):
        array = np.load(tmp_path / "out" / name)
        assert array.dtype == np.uint16
        np.testing.assert_array_equal(array, encoded.codes)


def test_salvage_silences_what_is_damaged(grn_bundle: Path, tmp_path: Path, speech: Audio) -> None:
    """In a clip that is longer than the 2048 latents that one checksum is for."""
    codec, long = load(grn_bundle), np.tile(speech, 3)[:720_000]
    encoded = codec.encode(long)
    encoded.save(tmp_path / "a.apc")
    data = bytearray((tmp_path / "a.apc").read_bytes())
    data[200] ^= 8
    (tmp_path / "a.apc").write_bytes(data)
    assert not run(codec, plan_folder(tmp_path / "a.apc", tmp_path / "out", "wav"), WAV).of(Outcome.DONE)
    salvage = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"), salvage=True)
    converted = convert(codec, tmp_path / "a.apc", tmp_path / "a.wav", salvage)
    assert [(gap.start, gap.stop) for gap in converted.gaps] == [(0, 2048)]
    decoded, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert len(decoded) == len(long)
    assert not decoded[: 2048 * 320].any()
    intact = codec.decode(encoded)[2150 * 320 :]
    assert np.corrcoef(decoded[2150 * 320 :], intact)[0, 1] > 0.98


def test_clipped_samples_are_counted(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    wav(tmp_path / "in" / "loud.wav", 8 * speech[:48_000], subtype="FLOAT")
    tasks = plan_folder(tmp_path / "in", tmp_path / "out", "wav")
    report = run(codec, tasks, WAV)
    decoded = codec.decode(codec.encode(8 * speech[:48_000]))
    assert report.clipped == (np.abs(decoded) > 1).sum() > 0


def test_decoding_can_be_stopped_between_blocks(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    """Reading ends before decoding begins, so decoding must listen by itself."""
    clip = speech[:60_000]
    source = wav(tmp_path / "a.wav", clip)
    heard: list[float] = []

    class Stop(Exception):
        pass

    def watch(seconds: float) -> None:
        heard.append(seconds)
        if sum(heard) > 0.6 * len(clip) / 48_000:
            raise Stop

    with pytest.raises(Stop):
        convert(codec, source, tmp_path / "b.wav", ConversionOptions(form=WAV.form, window=0.4), Watch(watch))
    assert not (tmp_path / "b.wav").exists()
    heard.clear()
    with pytest.raises(Stop):
        convert(codec, source, tmp_path / "b.wav", ConversionOptions(form=WAV.form, window=0.1), Watch(watch))


def test_what_a_format_cannot_hold_is_refused_before_coding(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    source = wav(tmp_path / "a.wav", np.stack([speech[:5000]] * 9, axis=1))
    heard: list[float] = []
    with pytest.raises(OutputError, match="9 channels"):
        convert(codec, source, tmp_path / "a.flac", ConversionOptions(form=AudioFormat.of("flac")), Watch(heard.append))
    assert heard == []


def test_a_clip_too_long_to_code_whole_is_not_read_to_its_end(codec: Codec, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", np.zeros(400 * 8000, np.float32), 8000)
    heard: list[float] = []
    with pytest.raises(AudioError, match="windows"):
        whole = ConversionOptions(form=None, window="whole")
        convert(codec, tmp_path / "a.wav", tmp_path / "a.apc", whole, Watch(heard.append))
    assert sum(heard) < 200
