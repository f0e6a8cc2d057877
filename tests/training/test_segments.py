"""Segments: the right samples, the same ones whoever reads them, and others where a file is damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from apcodec_training.config import DataConfig
from apcodec_training.material import Material, Recording
from apcodec_training.segments import Batch, Segments, band_limited, batches, levelled, read_segment

DATA = DataConfig(segment_samples=1240, batch_size=4, workers=0, gain_db=(-6.0, 6.0))


def recordings(folder: Path) -> tuple[Recording, ...]:
    return Material.find(folder, validation=None, clips=0, seed=0).training


def read(segments: Segments, first: int, steps: int, **share: int) -> list[Batch]:
    return list(batches(segments, first=first, steps=steps, **share))


def test_a_segment_is_what_is_in_the_file(folder: Path) -> None:
    for recording in recordings(folder):
        audio, rate = soundfile.read(recording.path, dtype="float32", always_2d=True)
        whole = soxr.resample(audio.mean(axis=1), rate, 48_000, quality="HQ")
        for start in (0.0, 0.1234, recording.seconds - 0.03):
            first = round(start * rate) * 48_000 / rate
            found = read_segment(recording, start, 1240, 48_000)
            assert found.shape == (1240,) and found.dtype == np.float32
            if rate == 48_000:
                expected = whole[round(first) :][:1240]
                np.testing.assert_array_equal(found[: len(expected)], expected)
            elif first + 1240 < len(whole) and first == round(first):
                # The filter has not seen all that it would have in the whole file.
                error = found - whole[round(first) :][:1240]
                assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(found**2)) + 1e-6


def test_a_short_file_is_filled_with_zeros(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.5), 48_000, subtype="FLOAT")
    segments = Segments(recordings(tmp_path), DataConfig(segment_samples=1240), 48_000, seed=0)
    audio = segments[0].audio
    assert audio is not None and audio[:100].tolist() == [0.5] * 100 and audio[100:].abs().max() == 0


def test_batches_do_not_depend_on_who_reads_them(folder: Path) -> None:
    alone = Segments(recordings(folder), DATA, 48_000, seed=7)
    expected = read(alone, 0, 4)
    helped = Segments(recordings(folder), DataConfig(**{**vars_of(DATA), "workers": 2}), 48_000, seed=7)
    for mine, theirs in zip(expected, read(helped, 0, 4), strict=True):
        assert torch.equal(mine.audio, theirs.audio) and mine.sources == theirs.sources
    resumed = read(alone, 2, 4)
    assert torch.equal(resumed[0].audio, expected[2].audio)
    parts = [read(alone, 0, 4, rank=rank, world=2) for rank in range(2)]
    for step, whole in enumerate(expected):
        assert torch.equal(torch.cat([part[step].audio for part in parts]), whole.audio)
    other = read(Segments(recordings(folder), DATA, 48_000, seed=8), 0, 1)
    assert not torch.equal(other[0].audio, expected[0].audio)


def test_more_readers_than_cpus_are_no_reason_for_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    batches(
        Segments(recordings(folder), DataConfig(**{**vars_of(DATA), "workers": 2}), 48_000, seed=7), first=0, steps=1
    )


def audio_of(segments: Segments, number: int) -> torch.Tensor:
    audio = segments[number].audio
    assert audio is not None
    return audio


def vars_of(config: DataConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_an_epoch_takes_every_file_as_often_as_it_should(folder: Path) -> None:
    found = recordings(folder)
    segments = Segments(found, DATA, 48_000, seed=3)
    assert segments.per_epoch == sum(each.draws for each in found) == 8
    for epoch in range(3):
        names = sorted(segments[epoch * 8 + place].source.split(" @ ")[0] for place in range(8))
        assert names == sorted(str(each.path) for each in found)
    order = [[segments[epoch * 8 + place].source.split(" @ ")[0] for place in range(8)] for epoch in range(2)]
    assert order[0] != order[1]


def test_damage_inside_a_file_is_told_and_another_segment_taken(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "clip 0.flac", tmp_path / "good.flac")
    data = bytearray((folder / "clip 2.flac").read_bytes())
    # Not to the end, which is looked at when a file is opened.
    data[len(data) // 5 : -len(data) // 20] = bytes(len(data[len(data) // 5 : -len(data) // 20]))
    (tmp_path / "damaged.flac").write_bytes(bytes(data))
    found = recordings(tmp_path)
    assert len(found) == 2, "the damage is behind the header"
    segments = Segments(found, DATA, 48_000, seed=0)
    everything = read(segments, 0, 10)
    damaged = {path for batch in everything for path, _ in batch.damaged}
    assert damaged == {str(tmp_path / "damaged.flac")}
    assert all(batch.audio.abs().max() > 0 for batch in everything)
    (tmp_path / "good.flac").unlink()
    for batch in read(segments, 0, 4):
        assert not batch.sources and len(batch.damaged) >= 20


def test_band_limited_audio_is_what_it_was_below_and_nothing_above() -> None:
    random = np.random.default_rng(1)
    audio = random.normal(size=7960).astype(np.float32)
    found = band_limited(audio, 48_000, 16_000)
    assert found.shape == audio.shape
    before, after = (np.fft.rfft(each * np.hanning(7960)) for each in (audio, found))
    frequency = np.fft.rfftfreq(7960, 1 / 48_000)
    below, above = frequency < 6_500, frequency > 8_500
    np.testing.assert_allclose(after[below], before[below], atol=0.02 * np.abs(before).mean())
    assert np.abs(after[above]).max() < 1e-3 * np.abs(before[above]).max()
    np.testing.assert_array_equal(band_limited(audio, 48_000, 48_000), audio)


def test_the_share_of_band_limited_segments_is_as_asked(folder: Path) -> None:
    found = tuple(each for each in recordings(folder) if each.sample_rate == 48_000)
    plain = Segments(found, DataConfig(segment_samples=1240), 48_000, seed=1)
    for share, least, most in ((0.5, 15, 45), (1.0, 60, 60)):
        limits = DataConfig(segment_samples=1240, band_limited=share, lowest_rate=8_000)
        segments = Segments(found, limits, 48_000, seed=1)
        changed = sum(not torch.equal(audio_of(segments, number), audio_of(plain, number)) for number in range(60))
        assert least <= changed <= most


@given(st.floats(0.001, 1), st.floats(-40, 40))
def test_a_gain_never_drives_past_full_scale(peak: float, gain: float) -> None:
    audio = np.array([0, -peak, peak / 2], np.float32)
    found = levelled(audio, gain)
    assert np.abs(found).max() <= 1 + 1e-6
    assert np.abs(found).max() >= peak * min(1, 10 ** (gain / 20)) * (1 - 1e-6)
