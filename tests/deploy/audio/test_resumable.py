"""A resampler that was saved goes on as if nothing had been, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resample
from apcodec_deploy.audio.resumable import ResumableResampler, resampling_delay

ROUNDING = 5e-6
"""Of samples with full scale at 1: soxr sums in another order, and interpolates at rates with nothing in common."""


def whole(audio: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    return np.concatenate(list(resample([audio], rate_in, rate_out)), axis=1)


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from(
        [(44_100, 48_000), (48_000, 44_100), (48_000, 8_000), (8_000, 48_000), (11_025, 48_000), (44_101, 48_000)]
    ),
    samples=st.integers(1, 60_000),
    places=st.lists(st.integers(0, 60_000), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_restored_anywhere_it_gives_the_same_clip(
    rates: tuple[int, int], samples: int, places: list[int], seed: int
) -> None:
    audio = (np.random.default_rng(seed).standard_normal((2, samples)) * 0.2).astype(np.float32)
    resampler, made, start = ResumableResampler(*rates, 2), [], 0
    for place in sorted(min(place, samples) for place in places):
        made.append(resampler.push(audio[:, start:place]))
        saved, start = resampler.save(), place
        resampler = ResumableResampler(*rates, 2)
        resampler.restore(saved)
    made += [resampler.push(audio[:, start:]), resampler.finish()]
    found, expected = np.concatenate(made, axis=1), whole(audio, *rates)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_unsaved_it_is_a_resampler_to_the_bit() -> None:
    audio = np.random.default_rng(0).standard_normal((1, 30_000)).astype(np.float32) * np.float32(0.1)
    resampler = ResumableResampler(44_100, 48_000, 1)
    made = [resampler.push(audio[:, start : start + 777]) for start in range(0, 30_000, 777)]
    np.testing.assert_array_equal(np.concatenate([*made, resampler.finish()], axis=1), whole(audio, 44_100, 48_000))


def test_what_it_keeps_is_bounded() -> None:
    resampler = ResumableResampler(48_000, 44_100, 1)
    for _ in range(100):
        resampler.push(np.zeros((1, 4800), np.float32))
    assert resampler.save()["history"].nbytes < 20_000


def test_equal_rates_keep_nothing_and_change_nothing() -> None:
    resampler = ResumableResampler(48_000, 48_000, 1)
    block = np.ones((1, 5), np.float32)
    assert resampler.push(block) is block
    assert resampler.save()["history"].size == 0 and resampler.finish().size == 0
    assert resampling_delay(48_000, 48_000) == 0


@pytest.mark.parametrize(("rate", "low", "high"), [(44_100, 0.01, 0.04), (16_000, 0.02, 0.06), (8_000, 0.05, 0.3)])
def test_the_delay_is_what_is_held_back_at_most(rate: int, low: float, high: float) -> None:
    delay = resampling_delay(rate, 48_000)
    assert low < delay < high
    resampler = ResumableResampler(rate, 48_000, 1)
    made = 0
    for count in range(1, 300):
        made += resampler.push(np.zeros((1, rate // 100), np.float32)).shape[1]
        assert count * (rate // 100) / rate - made / 48_000 <= delay + 1e-9
