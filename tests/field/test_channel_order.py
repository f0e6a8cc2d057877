"""A sound in one channel stays in that channel, whatever order a file keeps channels in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.writer import AudioFormat, AudioWriter

RATE, SAMPLES = 48_000, 9_600
COUNTS = range(3, 9)
WAV_ORDER = ("FL", "FR", "FC", "LFE", "BL", "BR", "BC", "SL", "SR")
"""Of the bits of a WAV's channel mask, which is what FLAC's fixed layouts follow, too."""
LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's names of the layouts that Vorbis, Opus and FLAC fix for so many channels."""


def alone(channels: int, loud: int) -> NDArray[np.float32]:
    """A low tone, which an LFE passes, in one channel; silence in the others."""
    audio = np.zeros((channels, SAMPLES), np.float32)
    audio[loud] = 0.4 * np.sin(2 * np.pi * 60 * np.arange(SAMPLES) / RATE)
    return audio


def loudest(audio: NDArray[np.float32]) -> int:
    power = np.square(audio, dtype=np.float64).mean(axis=1)
    assert np.sort(power)[-2] < 0.05 * power.max()
    return int(power.argmax())


def named_by_ffmpeg(path: Path) -> tuple[str, list[str]]:
    """The channel that FFmpeg hears the sound in, by its name, and the names of all of them."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        names = [channel.name for channel in stream.layout.channels]
        resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=RATE)
        frames = [made for frame in container.decode(stream) for made in resampler.resample(frame)]
    audio = np.concatenate([frame.to_ndarray().reshape(-1, len(names)).T for frame in frames], axis=1)
    return names[loudest(audio)], names


def read(path: Path) -> NDArray[np.float32]:
    with open_audio(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", COUNTS)
def test_ogg_is_read_in_wavs_order(tmp_path: Path, channels: int, subtype: str) -> None:
    """Files are written as they come, without any order in mind; FFmpeg says which channel it is."""
    found = set()
    for stored in range(channels):
        path = tmp_path / "a.ogg"
        soundfile.write(path, alone(channels, stored).T, RATE, format="OGG", subtype=subtype)
        name, names = named_by_ffmpeg(path)
        in_order = [each for each in WAV_ORDER if each in names]
        assert in_order[loudest(read(path))] == name
        found.add(name)
    assert found == set(names) and len(found) == channels


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", COUNTS)
def test_ogg_is_written_in_its_own_order(tmp_path: Path, channels: int, subtype: str) -> None:
    for loud in range(channels):
        path = tmp_path / "a.ogg"
        with AudioWriter(path, AudioFormat.of("ogg", subtype), RATE, channels, SAMPLES) as writer:
            for block in np.split(alone(channels, loud), 2, axis=1):
                writer.write(block)
        name, names = named_by_ffmpeg(path)
        assert [each for each in WAV_ORDER if each in names][loud] == name
        assert loudest(read(path)) == loud


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", [2, 9])
def test_counts_without_an_order_of_their_own_stay(tmp_path: Path, channels: int, subtype: str) -> None:
    path = tmp_path / "a.ogg"
    for loud in range(channels):
        with AudioWriter(path, AudioFormat.of("ogg", subtype), RATE, channels, SAMPLES) as writer:
            writer.write(alone(channels, loud))
        raw, _ = soundfile.read(path, dtype="float32", always_2d=True)
        assert loudest(raw.T) == loudest(read(path)) == loud


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_other_kinds_keep_wavs_order(tmp_path: Path, name: str) -> None:
    for channels in COUNTS:
        for loud in range(channels):
            path = tmp_path / f"a.{name}"
            with AudioWriter(path, AudioFormat.of(name), RATE, channels, SAMPLES) as writer:
                writer.write(alone(channels, loud))
            assert loudest(read(path)) == loud


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.webm", "libopus"), ("a.opus", "libopus"), ("a.m4a", "aac"), ("a.mka", "pcm_s16le"), ("a.caf", "pcm_s16be")],
)
@pytest.mark.parametrize("channels", COUNTS)
def test_what_ffmpeg_writes_is_read_in_wavs_order(tmp_path: Path, channels: int, name: str, codec: str) -> None:
    path, layout = tmp_path / name, LAYOUTS[channels]
    for loud in (2, channels - 1):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE, layout=layout)
            if codec == "libopus":
                stream.codec_context.options = {"mapping_family": "1"}
            resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=RATE)
            for start in range(0, SAMPLES, 960):
                block = np.ascontiguousarray(alone(channels, loud)[:, start : start + 960].T).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(block, "flt", layout)
                frame.sample_rate, frame.pts = RATE, start
                for converted in resampler.resample(frame):
                    container.mux(stream.encode(converted))
            container.mux(stream.encode(None))
        in_order = [each for each in WAV_ORDER if each in {c.name for c in av.AudioLayout(layout).channels}]
        sent = [channel.name for channel in av.AudioLayout(layout).channels][loud]
        assert in_order[loudest(read(path))] == sent
