"""Oggs that hold several sounds or were cut: all of the audio is read, or the file is refused."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field_clips import LENGTH, RATE, Read, both_ways, clip, encoded, from_path

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError


@both_ways
@pytest.mark.parametrize("subtypes", [("VORBIS", "VORBIS"), ("OPUS", "OPUS"), ("VORBIS", "OPUS")])
def test_one_after_the_other(tmp_path: Path, read: Read, subtypes: tuple[str, str]) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(encoded("OGG", subtype) for subtype in subtypes))
    whole = read(path)
    assert whole.shape == (1, 2 * LENGTH)
    for place, subtype in zip((0, LENGTH), subtypes, strict=True):
        alone, _ = soundfile.read(io.BytesIO(encoded("OGG", subtype)), dtype="float32")
        np.testing.assert_allclose(whole[0, place : place + LENGTH], alone, atol=1e-6)


def test_a_part_over_the_seam(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(3 * encoded("OGG", "VORBIS"))
    whole = from_path(path)
    with AudioReader(path) as reader:
        assert reader.declared_samples == 3 * LENGTH
    for start, end in ((1.0, 1.5), (2.0, 3.5), (2.75, None)):
        stop = None if end is None else round(end * RATE)
        np.testing.assert_array_equal(from_path(path, Span(start, end)), whole[:, round(start * RATE) : stop])


@both_ways
@pytest.mark.parametrize(
    ("channels", "rate", "words"), [(2, RATE, "48000 Hz with 2 channels"), (1, 24_000, "24000 Hz with 1 channel")]
)
def test_another_sound_behind_it_is_refused(tmp_path: Path, read: Read, channels: int, rate: int, words: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(encoded("OGG", "VORBIS") + encoded("OGG", "VORBIS", rate=rate, channels=channels))
    with pytest.raises(AudioError, match=f"changes from 48000 Hz with 1 channel to {words}"):
        read(path)


@both_ways
def test_flac_in_ogg(tmp_path: Path, read: Read) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16")
        for start in range(0, LENGTH, 4096):
            block = (clip()[:, start : start + 4096] * 32768).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = tmp_path / "a.oga"
    for times in (1, 2):
        path.write_bytes(times * file.getvalue())
        np.testing.assert_array_equal(read(path), np.tile(clip(), times))


@both_ways
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_what_is_cut_or_broken_is_refused(tmp_path: Path, read: Read, subtype: str) -> None:
    path, data = tmp_path / "a.ogg", encoded("OGG", subtype)
    last = data.rindex(b"OggS")
    second_last = data.rindex(b"OggS", 0, last)
    for broken, words in (
        (data[:last], "its last page is missing"),
        (data[:-10], "its last page is missing"),
        (data[:last] + data, "its last page is missing"),
        (data[:second_last] + data[last:], "1 Ogg pages are missing"),
        (data[:-10] + bytes(10), "does not match its checksum"),
    ):
        path.write_bytes(broken)
        with pytest.raises(AudioError, match=words):
            read(path)


@both_ways
def test_sounds_that_run_beside_one_another_are_refused(tmp_path: Path, read: Read) -> None:
    """Pages of two streams: all the first pages stand in front."""
    first, second = (encoded("OGG", subtype) for subtype in ("VORBIS", "OPUS"))
    ends = [data.index(b"OggS", 4) for data in (first, second)]
    path = tmp_path / "a.ogg"
    path.write_bytes(first[: ends[0]] + second[: ends[1]] + first[ends[0] :] + second[ends[1] :])
    with pytest.raises(AudioError, match="holds 2 sounds at once"):
        read(path)
