"""What PyAV reads, against what was written with it."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy import Codec
from apcodec_deploy.audio.av_reader import AvReader
from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError, MissingDependencyError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import run
from apcodec_deploy.transcoding.report import Outcome

KINDS = {"a.m4a": "aac", "a.aac": "aac", "a.mp4": "aac", "a.webm": "libopus", "a.mka": "pcm_s16le"}


def write(path: Path, audio: NDArray[np.float32], codec: str, rate: int = 48_000) -> Path:
    """Stereo audio (2, N) in a container."""
    with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=rate)
        for start in range(0, audio.shape[1], 960):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[:, start : start + 960]), "fltp", "stereo")
            frame.sample_rate, frame.pts = rate, start
            for converted in resampler.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def sound(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three seconds in stereo."""
    return np.stack([speech[:144_000], speech[10_000:154_000]])


@pytest.mark.parametrize("name", KINDS)
def test_sound_is_read_at_its_rate_and_length(tmp_path: Path, sound: NDArray[np.float32], name: str) -> None:
    path = write(tmp_path / name, sound, KINDS[name])
    with open_audio(path) as reader:
        assert isinstance(reader, AvReader)
        assert (reader.sample_rate, reader.channels) == (48_000, 2)
        blocks = list(reader.blocks())
    assert {block.shape[1] for block in blocks[:-1]} == {48_000} and blocks[0].dtype == np.float32
    read = np.concatenate(blocks, axis=1)
    assert abs(read.shape[1] - sound.shape[1]) <= 3000  # what encoders put around it
    # 1024 samples late where there is no room to say what the encoder put before (adts).
    best = max(np.corrcoef(read[0, lag : lag + 100_000], sound[0, :100_000])[0, 1] for lag in (0, 1024))
    assert best > 0.95
    with open_audio(path) as reader:
        part = np.concatenate(list(reader.blocks(Span(0.5, 1.25))), axis=1)
    np.testing.assert_array_equal(part, read[:, 24_000:60_000])


def test_what_libsndfile_reads_stays_with_it(examples: Path) -> None:
    with open_audio(examples / "music_44k.ogg") as reader:
        assert isinstance(reader, AudioReader)


def test_bad_files_are_named(tmp_path: Path, sound: NDArray[np.float32]) -> None:
    good = write(tmp_path / "good.m4a", sound, "aac").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.m4a").write_text("hello")
    (tmp_path / "empty.webm").write_bytes(b"")
    for name in ("cut.m4a", "text.m4a", "empty.webm"):
        with pytest.raises(AudioError, match=name):
            AvReader(tmp_path / name)
    webm = write(tmp_path / "whole.webm", sound, "libopus").read_bytes()
    (tmp_path / "damaged.webm").write_bytes(webm[: len(webm) // 2])
    with pytest.raises(AudioError, match=r"damaged\.webm"), AvReader(tmp_path / "damaged.webm") as reader:
        list(reader.blocks())


def test_a_file_without_sound_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="holds no sound"):
        AvReader(tmp_path / "a.mp4")


def test_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for name in ("a.m4a", "a.wav"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypM4A ")
        with pytest.raises(MissingDependencyError, match=r"apcodec-deploy\[av\]"):
            open_audio(tmp_path / name)


def test_a_folder_of_it_is_transcoded(codec: Codec, tmp_path: Path, sound: NDArray[np.float32]) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.m4a", sound[:, :48_000], "aac")
    (tmp_path / "in" / "b.mp4").write_text("hello")
    report = run(codec, plan_folder(tmp_path / "in", tmp_path / "out", "apc"), ConversionOptions(form=None))
    assert [str(result.outcome) for result in report.results] == ["done", "failed"]
    assert report.of(Outcome.DONE)[0].converted is not None
