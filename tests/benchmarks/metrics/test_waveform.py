"""SNR and SI-SDR beside least squares and cases made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_benchmarks.metrics.waveform import LIMIT, si_sdr, snr

RATE = 16_000


def clip(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def white(samples: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def fitted(original: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    """SI-SDR by a least-squares fit of the decoded clip with the original and a constant."""
    basis = np.stack([original, np.ones(len(original))], axis=1).astype(np.float64)
    factors, *_ = np.linalg.lstsq(basis, decoded.astype(np.float64), rcond=None)
    rest = decoded - basis @ factors
    target = factors[0] * (basis[:, 0] - basis[:, 0].mean())
    return float(20 * np.log10(np.linalg.norm(target) / np.linalg.norm(rest)))


def test_si_sdr_is_that_of_a_least_squares_fit(pair: Any) -> None:
    assert si_sdr(pair.original, pair.decoded, pair.rate) == pytest.approx(
        fitted(pair.original, pair.decoded), abs=1e-6
    )


def test_both_are_right_where_one_can_see_it() -> None:
    original = clip(1, -1, 1, -1)
    decoded = original + clip(0.1, 0.1, -0.1, -0.1)
    assert si_sdr(original, decoded, RATE) == pytest.approx(20, abs=1e-5)
    assert snr(original, decoded, RATE) == pytest.approx(20, abs=1e-5)
    assert snr(original, original / 2, RATE) == pytest.approx(20 * math.log10(2))


def test_clips_of_several_blocks_are_taken_whole() -> None:
    original, rest = white((1 << 20) + 7, 0), white((1 << 20) + 7, 1)
    decoded = original + np.float32(0.01) * rest + np.float32(0.5)
    expected = 10 * math.log10(np.var(original.astype(float)) / 1e-4)
    assert si_sdr(original, decoded, RATE) == pytest.approx(expected, abs=0.02)
    difference = original.astype(np.float64) - decoded
    expected = 10 * math.log10(float(np.sum(original.astype(np.float64) ** 2) / np.sum(difference**2)))
    assert snr(original, decoded, RATE) == pytest.approx(expected, abs=1e-9)


@given(
    gain=st.floats(0.01, 100).flatmap(lambda gain: st.sampled_from([gain, -gain])),
    offset=st.floats(-1, 1),
    level=st.floats(0.01, 10),
)
def test_si_sdr_knows_neither_gain_nor_offset_and_bounds_snr(gain: float, offset: float, level: float) -> None:
    original, noise = (np.concatenate([half, -half]) for half in (white(1000, 0), white(1000, 1)))  # no offset yet
    decoded = original + np.float32(level) * noise
    moved = (gain * decoded.astype(np.float64) + offset * gain).astype(np.float32)
    value, same = si_sdr(original, decoded, RATE), si_sdr(original, moved, RATE)
    assert value is not None and same == pytest.approx(value, abs=1e-3)
    plain = snr(original, moved, RATE)
    # With the best gain SNR is 1 / (1 - r^2) and SI-SDR r^2 / (1 - r^2), r being the correlation.
    assert plain is not None and plain <= 10 * math.log10(1 + 10 ** (value / 10)) + 1e-3


def test_a_perfect_copy_and_silence_have_the_limits() -> None:
    original = white(1000, 0)
    nothing = np.zeros_like(original)
    assert snr(original, original, RATE) == si_sdr(original, original, RATE) == LIMIT
    assert si_sdr(original, original / 4, RATE) == LIMIT
    assert snr(original, nothing, RATE) == 0
    assert si_sdr(original, nothing, RATE) == si_sdr(original, nothing + 1, RATE) == -LIMIT
    assert si_sdr(clip(1, -1, 1, -1), clip(1, 1, -1, -1), RATE) == -LIMIT  # at right angles


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e38, 1e-45])
def test_a_constant_original_has_no_si_sdr(constant: float) -> None:
    original = np.full(999, constant, np.float32)
    assert si_sdr(original, white(999, 0), RATE) is None
    assert (snr(original, white(999, 0), RATE) is None) == (constant == 0)


def test_the_extremes_of_float32_neither_overflow_nor_vanish() -> None:
    original, decoded = clip(1, -1, 1, -1), clip(1.1, -0.9, 0.9, -1.1)
    for scale in (3e38, 1e-38):
        assert si_sdr(original * np.float32(scale), decoded * np.float32(scale / 2), RATE) == pytest.approx(
            20, abs=0.01
        )
        assert si_sdr(original, decoded * np.float32(scale / 2), RATE) == pytest.approx(20, abs=0.01)
