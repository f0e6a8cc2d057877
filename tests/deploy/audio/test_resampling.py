"""Resampling in blocks against one conversion of the whole clip."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import check_rate, exactly, resample, resampled_length
from apcodec_deploy.errors import AudioError

Audio = NDArray[np.float32]

RATES = st.sampled_from([8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 192000]) | st.integers(4000, 200_000)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


def noise(channels: int, samples: int) -> Audio:
    return np.random.default_rng(samples).standard_normal((channels, samples)).astype(np.float32)


def blocks_of(audio: Audio, cuts: list[int]) -> Iterator[Audio]:
    """The audio cut at any places; equal ones make empty blocks."""
    borders = [0, *sorted(min(cut, audio.shape[1]) for cut in cuts), audio.shape[1]]
    for start, stop in itertools.pairwise(borders):
        yield audio[:, start:stop]


def joined(blocks: Iterator[Audio]) -> Audio:
    parts = list(blocks)
    assert all(part.dtype == np.float32 for part in parts)
    return np.concatenate(parts, axis=1)


@example(samples=720, channels=1, rate_in=48_000, rate_out=44_100, cuts=[])
@given(samples=st.integers(100, 2000), channels=st.integers(1, 3), rate_in=RATES, rate_out=RATES, cuts=CUTS)
def test_blocks_give_what_the_whole_clip_gives(
    samples: int, channels: int, rate_in: int, rate_out: int, cuts: list[int]
) -> None:
    audio = noise(channels, samples)
    expected = soxr.resample(audio.T, rate_in, rate_out, quality="HQ").T
    found = joined(resample(blocks_of(audio, cuts), rate_in, rate_out))
    # Of half a sample, which is rounded up here, soxr sometimes makes none.
    assert found.shape[1] == expected.shape[1] or 2 * samples * rate_out / rate_in == 2 * expected.shape[1] + 1
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 48000), (48000, 8000), (16000, 48000)])
def test_single_samples_give_what_the_whole_clip_gives(rate_in: int, rate_out: int) -> None:
    audio = noise(1, 700)
    expected = soxr.resample(audio.T, rate_in, rate_out, quality="HQ").T
    np.testing.assert_array_equal(joined(resample(blocks_of(audio, list(range(700))), rate_in, rate_out)), expected)


@given(samples=st.integers(1, 400), channels=st.integers(1, 2), rate_in=RATES, rate_out=RATES, cuts=CUTS)
def test_every_clip_has_the_promised_length(
    samples: int, channels: int, rate_in: int, rate_out: int, cuts: list[int]
) -> None:
    out = joined(resample(blocks_of(noise(channels, samples), cuts), rate_in, rate_out))
    assert out.shape == (channels, resampled_length(samples, rate_in, rate_out))
    assert np.isfinite(out).all()


@given(samples=st.integers(0, 2**40), rate_in=RATES, rate_out=RATES)
def test_lengths_are_rounded_half_up_but_never_to_nothing(samples: int, rate_in: int, rate_out: int) -> None:
    rounded = floor(Fraction(samples * rate_out, rate_in) + Fraction(1, 2))
    assert resampled_length(samples, rate_in, rate_out) == (max(rounded, 1) if samples else 0)


def test_the_same_rate_passes_blocks_on() -> None:
    blocks = [noise(2, 10), noise(2, 3)]
    assert all(a is b for a, b in zip(resample(blocks, 48000, 48000), blocks, strict=True))


@pytest.mark.parametrize("rate_out", [8000, 48000])
def test_nothing_gives_nothing(rate_out: int) -> None:
    assert list(resample([], 48000, rate_out)) == []
    assert sum(block.shape[1] for block in resample([np.zeros((1, 0), np.float32)], 48000, rate_out)) == 0


def test_a_tone_keeps_its_pitch_and_level() -> None:
    seconds = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 1000 * seconds).astype(np.float32)[None]
    out = joined(resample([tone], 44100, 48000))[0]
    expected = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    np.testing.assert_allclose(out[1000:-1000], expected[1000:-1000], atol=1e-4)


@given(have=st.integers(0, 60), want=st.integers(0, 60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_exactly_trims_or_extends_with_silence(have: int, want: int, cuts: list[int]) -> None:
    audio = noise(2, have)
    parts = list(exactly(blocks_of(audio, cuts), want))
    found = np.concatenate([np.zeros((2, 0), np.float32), *parts], axis=1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.pad(audio, ((0, 0), (0, 60)))[:, :want])


@pytest.mark.parametrize("rate", [1000, 44100, 768_000, 48000.0, np.int64(8000), np.float32(16000)])
def test_usual_rates_pass(rate: Any) -> None:
    assert check_rate(rate) == rate
    assert type(check_rate(rate)) is int


@pytest.mark.parametrize(
    "rate", [0, -48000, 999, 768_001, 2**40, 44100.5, True, float("nan"), float("inf"), -float("inf")]
)
def test_other_rates_are_refused(rate: Any) -> None:
    with pytest.raises(AudioError, match="whole numbers from 1000 to 768000 are expected"):
        check_rate(rate)
