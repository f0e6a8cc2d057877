"""Spectrograms as small pictures: mel frequency up, time to the right, one scale for all that are compared."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import require

WIDTH, HEIGHT = 600, 160
RANGE_DB = 80.0
"""From the brightest colour to the darkest."""
_COLOURS = "magma"
_FLOOR = 1e-20
_BLOCK = 64
_TICKS = (64_000, 32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500)


def mel(frequency: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Hz to mel: 2595 log10(1 + f / 700) (O'Shaughnessy, Speech Communication, 1987)."""
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency, np.float64) / 700))


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mels / 2595) - 1))


def levels(
    audio: NDArray[np.float32], sample_rate: int, *, width: int = WIDTH, height: int = HEIGHT
) -> NDArray[np.float32]:
    """Measure how much there is at each time and frequency.

    Windows are Hann, of the power of two next to 40 ms. Where a column stands for more than half a window, the mean
    power of several counts; where a row stands for more than one bin, that of several bins.

    Args:
        audio: (N,), N at least 1.
        sample_rate: Hz.
        width: Columns; together they cover the clip from its first sample to its last.
        height: Rows, equally spaced in mel from 0 to half the sample rate.

    Returns:
        (``height``, ``width``), the highest frequency first: dB, where a sine at full scale, on a bin, has 0.
    """
    size = 1 << max(round(np.log2(0.04 * sample_rate)), 4)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    bank = _bank(sample_rate, size, height)
    per_column = max(1, int(np.ceil(len(audio) / width / (size / 2))))
    centres = ((np.arange(width * per_column) + 0.5) * len(audio) / (width * per_column)).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, size // 2), size)
    rows = np.empty((width, height))
    for first in range(0, width, _BLOCK):
        chosen = centres[first * per_column : (first + _BLOCK) * per_column]
        spectra = np.fft.rfft(frames[chosen] * window, axis=1) / (window.sum() / 2)
        power = (np.abs(spectra) ** 2).reshape(-1, per_column, size // 2 + 1).mean(1)
        rows[first : first + _BLOCK] = power @ bank.T
    return np.asarray(10 * np.log10(np.maximum(rows, _FLOOR)).T[::-1], np.float32)


def _bank(sample_rate: int, size: int, height: int) -> NDArray[np.float64]:
    """Weights of the bins in each row, (height, bins): a triangle that reaches to the next rows, or the next bins."""
    bins = np.arange(size // 2 + 1) * sample_rate / size
    step = mel(sample_rate / 2) / height
    centres = _hertz((np.arange(height) + 0.5) * step)[:, None]
    reach = np.maximum(_hertz((np.arange(height) + 1.5) * step)[:, None] - centres, sample_rate / size)
    weights = np.maximum(1 - np.abs(bins - centres) / reach, 0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def picture(values: NDArray[np.float32], top: float) -> bytes:
    """Paint levels as a PNG.

    Args:
        values: (height, width), dB, the highest frequency first.
        top: dB of the brightest colour; what is ``RANGE_DB`` below it, or lower, is darkest.

    Raises:
        MissingDependencyError: matplotlib, whose colours these are, is not installed.
    """
    colours = require("matplotlib", extra="bench").colormaps[_COLOURS]
    image = require("PIL.Image", extra="bench")  # matplotlib brings it
    shades = np.rint(np.clip((values - top) / RANGE_DB + 1, 0, 1) * 255).astype(np.uint8)
    painted = image.fromarray(shades)
    painted.putpalette(np.rint(colours(np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    painted.save(file, "PNG", optimize=True)
    return file.getvalue()


def ticks(sample_rate: int) -> list[tuple[int, float]]:
    """Give frequencies worth a label, in Hz, each with its place: 0 at the top of the picture, 1 at its bottom."""
    nyquist = float(mel(sample_rate / 2))
    labels: list[tuple[int, float]] = []
    for frequency in _TICKS:
        place = 1 - float(mel(frequency)) / nyquist
        if 0.06 < place < 0.94 and (not labels or place - labels[-1][1] > 0.11):  # else they would overlap
            labels.append((frequency, place))
    return labels
