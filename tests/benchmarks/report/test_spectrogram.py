"""Spectrograms: what is where, how bright it is, and that it becomes a picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from apcodec_benchmarks.report.spectrogram import HEIGHT, RANGE_DB, WIDTH, levels, picture, ticks


def sine(frequency: float, sample_rate: int, seconds: float) -> NDArray[np.float32]:
    time = np.arange(round(sample_rate * seconds)) / sample_rate
    return np.asarray(np.sin(2 * np.pi * frequency * time), np.float32)


def row_of(frequency: float, sample_rate: int) -> float:
    """Where a frequency is, from the top, by the definition of mel."""
    return (1 - np.log(1 + frequency / 700) / np.log(1 + sample_rate / 2 / 700)) * HEIGHT - 0.5


@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.4, 0.9])
def test_a_sine_is_a_line_at_its_frequency(sample_rate: int, share: float) -> None:
    frequency = share * sample_rate / 2
    found = levels(sine(frequency, sample_rate, 1.0), sample_rate)
    assert found.shape == (HEIGHT, WIDTH)
    brightest = found[:, WIDTH // 10 : -WIDTH // 10].argmax(0)
    bin_rows = row_of(frequency, sample_rate) - row_of(frequency + sample_rate / 1024, sample_rate)
    assert np.abs(brightest - row_of(frequency, sample_rate)).max() <= max(1.0, bin_rows)


@pytest.mark.parametrize("seconds", [0.3, 5.0, 90.0])
def test_a_click_is_a_line_at_its_time_however_long_the_clip_is(seconds: float) -> None:
    audio = np.zeros(round(16_000 * seconds), np.float32)
    audio[round(0.75 * len(audio))] = 1
    found = levels(audio, 16_000).max(0)
    window = WIDTH * 0.04 / seconds
    assert abs(int(found.argmax()) - 0.75 * WIDTH) <= 1 + window
    assert found[: round(0.75 * WIDTH - 2 - window)].max() < found.max() - 100


def test_full_scale_is_0_db_and_twenty_decibels_are_twenty_decibels() -> None:
    loud = levels(sine(1_500, 48_000, 1.0), 48_000)
    quiet = levels(sine(1_500, 48_000, 1.0) / 10, 48_000)
    assert -3 < loud[:, 100:-100].max() <= 0.1
    bright = loud > -60
    np.testing.assert_allclose(loud[bright] - quiet[bright], 20, atol=0.1)


@pytest.mark.parametrize("samples", [1, 7, 100])
def test_the_shortest_clips_and_silence_have_a_picture(samples: int) -> None:
    for audio in (np.zeros(samples, np.float32), np.ones(samples, np.float32)):
        assert np.isfinite(levels(audio, 48_000)).all()


def test_a_picture_gets_brighter_with_the_level_and_stays_within_its_range() -> None:
    values = np.tile(np.linspace(-RANGE_DB - 30, 30, WIDTH, dtype=np.float32), (HEIGHT, 1))
    image = Image.open(io.BytesIO(picture(values, 0.0)))
    assert image.format == "PNG"
    assert image.size == (WIDTH, HEIGHT)
    brightness = np.asarray(image.convert("L"), np.int64)[0]
    assert (np.diff(brightness) >= -1).all()
    assert brightness[0] == brightness[WIDTH // 6] < 5
    assert brightness[-1] == brightness[-WIDTH // 6] > 230


def test_labels_are_where_their_frequencies_are_and_do_not_overlap() -> None:
    for sample_rate in (8_000, 22_050, 48_000, 96_000):
        labels = ticks(sample_rate)
        assert len(labels) >= 3
        for frequency, place in labels:
            assert place * HEIGHT == pytest.approx(row_of(frequency, sample_rate) + 0.5)
        assert np.diff([place for _, place in labels]).min() > 0.1
