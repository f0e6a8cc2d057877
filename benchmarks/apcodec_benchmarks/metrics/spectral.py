"""Metrics of magnitude spectra: how far apart they are on a logarithmic scale."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WINDOW = 2048
HOP = 512
POWER_FLOOR = 1e-8
MEL_FLOOR = 1e-5
MEL_BANDS = 80
_FRAMES = 256  # at a time; some 10 MB


def lsd(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute the log-spectral distance as APCodec's authors do.

    Root mean square over frequency, then mean over time, of the difference of log10 power spectra, the power being no
    less than ``POWER_FLOOR``. The spectra are those of ``torch.stft(audio, 2048, 512, torch.hann_window(2048))``:
    periodic Hann window, frames centred on every 512th sample, ends reflected, not normalised (``cal_metrics.py`` of
    AP-BWE, by the same authors); here in float64. A clip of 1024 samples or fewer, which cannot be reflected so far, is
    extended with zeros to 1025.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz; without effect, but distances at different rates cover different bands.

    Returns:
        In decades of power (1 is 10 dB); 0 is best. None for an empty clip.
    """
    total, frames = 0.0, 0
    for reference, audio in zip(_magnitudes(original), _magnitudes(decoded), strict=True):
        difference = np.log10(np.maximum(reference**2, POWER_FLOOR)) - np.log10(np.maximum(audio**2, POWER_FLOOR))
        total += float(np.sqrt((difference**2).mean(axis=1)).sum())
        frames += len(difference)
    return total / frames if frames else None


def mel(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute the mel distance: the mean absolute difference of log10 mel spectrograms.

    Magnitudes (not power) of the same STFT as in ``lsd``, summed into ``MEL_BANDS`` triangles from 0 Hz to half the
    sample rate, Slaney's scale, each of unit area over Hz; the sums being no less than ``MEL_FLOOR``. The mean is over
    bands and time at once. This is one of the resolutions whose distances DAC adds up (Kumar et al., High-Fidelity
    Audio Compression with Improved RVQGAN, NeurIPS 2023), so its figures are not those of the paper.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz.

    Returns:
        In decades of magnitude (1 is 20 dB); 0 is best. None for an empty clip, at a sample rate so high (above
        192 kHz) that some triangle lies between two frequencies of the STFT, and where transformers, whose triangles
        these are, is not installed.
    """
    if not len(original) or mel_problem() is not None:
        return None
    triangles = _triangles(sample_rate)
    if not triangles.any(axis=0).all():
        return None
    total, values = 0.0, 0
    for reference, audio in zip(_magnitudes(original), _magnitudes(decoded), strict=True):
        difference = np.log10(np.maximum(reference @ triangles, MEL_FLOOR))
        difference -= np.log10(np.maximum(audio @ triangles, MEL_FLOOR))
        total += float(np.abs(difference).sum())
        values += difference.size
    return total / values


def mel_problem() -> str | None:
    """Say why there is no mel distance here; None if there is."""
    try:
        importlib.import_module("transformers.audio_utils")
    except (ImportError, OSError) as error:
        return f"transformers cannot be imported ({error}); install it with: pip install 'apcodec-deploy[bench]'"
    return None


def _magnitudes(clip: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Magnitude spectra (T', WINDOW / 2 + 1) of successive frames, a block of frames at a time."""
    if not len(clip):
        return
    half = WINDOW // 2
    if len(clip) <= half:
        clip = np.pad(clip, (0, half + 1 - len(clip)))
    window = np.hanning(WINDOW + 1)[:-1]
    count = len(clip) // HOP + 1
    for first in range(0, count, _FRAMES):
        last = min(first + _FRAMES, count)
        # Reflection as indices, so that no padded copy of the clip is needed.
        places = np.abs(np.arange(first * HOP, (last - 1) * HOP + WINDOW) - half)
        places = np.where(places < len(clip), places, 2 * (len(clip) - 1) - places)
        frames = np.lib.stride_tricks.sliding_window_view(clip[places].astype(np.float64), WINDOW)[::HOP]
        yield np.abs(np.fft.rfft(frames * window))


@functools.lru_cache(maxsize=8)
def _triangles(sample_rate: int) -> NDArray[np.float64]:
    """What each frequency adds to each mel band: (WINDOW / 2 + 1, MEL_BANDS)."""
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty triangles, which the caller sees for itself
        return np.asarray(
            mel_filter_bank(
                num_frequency_bins=WINDOW // 2 + 1,
                num_mel_filters=MEL_BANDS,
                min_frequency=0.0,
                max_frequency=sample_rate / 2,
                sampling_rate=sample_rate,
                norm="slaney",
                mel_scale="slaney",
            ),
            np.float64,
        )
