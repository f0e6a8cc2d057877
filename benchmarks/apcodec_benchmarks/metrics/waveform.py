"""Metrics of the waveform itself: what is left when the original is taken away."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LIMIT = 150.0
"""dB; a ratio beyond it says no more, since it is about what rounding to float32 leaves, and JSON has no infinity."""
_BLOCK = 1 << 20


def snr(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute the signal-to-noise ratio: energy of the original over energy of the difference.

    A wrong gain or offset counts as noise.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz; without effect.

    Returns:
        dB, at most ``LIMIT`` either way: a perfect copy has ``LIMIT``, silence in place of sound 0. None where the
        original is empty or silent.
    """
    if not original.any():
        return None
    signal = noise = 0.0
    for reference, audio in _blocks(original, decoded):
        signal += float(reference @ reference)
        difference = reference - audio
        noise += float(difference @ difference)
    return _decibels(signal, noise)


def si_sdr(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute the scale-invariant signal-to-distortion ratio.

    Le Roux, Wisdom, Erdogan, Hershey: SDR - half-baked or well done?, ICASSP 2019. Both clips' means are removed, then
    the decoded clip is split into the original times the best factor, and a rest orthogonal to it. A delay or another
    phase counts as distortion, whether one can hear it or not.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz; without effect.

    Returns:
        dB, at most ``LIMIT`` either way: a perfect copy has ``LIMIT``; a decoded clip that holds nothing of the
        original, like silence, ``-LIMIT``. None where the original is empty, silent or constant.
    """
    if _constant(original):
        return None
    if _constant(decoded):
        return -LIMIT
    offset = original.mean(dtype=np.float64), decoded.mean(dtype=np.float64)
    energy = product = 0.0
    for reference, audio in _blocks(original, decoded, offset):
        energy += float(reference @ reference)
        product += float(reference @ audio)
    scale = product / energy
    distortion = 0.0
    for reference, audio in _blocks(original, decoded, offset):
        rest = audio - scale * reference
        distortion += float(rest @ rest)
    return _decibels(scale * product, distortion)


def _blocks(
    original: NDArray[np.float32], decoded: NDArray[np.float32], offset: tuple[float, float] = (0.0, 0.0)
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Both clips piece by piece in float64, less their offsets; so that memory does not grow with length."""
    for start in range(0, len(original), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield original[part].astype(np.float64) - offset[0], decoded[part].astype(np.float64) - offset[1]


def _constant(clip: NDArray[np.float32]) -> bool:
    """Whether nothing is left of it without its mean; the mean itself is rounded, so the energy would not tell."""
    return not len(clip) or bool(clip.min() == clip.max())


def _decibels(signal: float, noise: float) -> float:
    if signal <= 0:
        return -LIMIT
    if noise <= 0:
        return LIMIT
    return min(max(10 * (math.log10(signal) - math.log10(noise)), -LIMIT), LIMIT)
