"""Metrics that model a listener of speech, by packages of others."""

from __future__ import annotations

import importlib
import itertools
import math
import warnings

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resample

STOI_SHORTEST = (256 + 29 * 128) / 10_000
"""Seconds; 30 frames of 256 samples, every 128th, at 10 kHz: STOI correlates over that many."""
PESQ_RATE = 16_000
PESQ_LONGEST = 20
"""Seconds of one piece. The C code behind PESQ has room for 50 utterances and writes past it without looking. An
utterance and the pause after it take at least 200 ms each, so this length is safe."""


def stoi(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute the short-time objective intelligibility by pystoi, not extended.

    Taal, Hendriks, Heusdens, Jensen: An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy
    Speech, TASLP 2011. pystoi resamples to 10 kHz by itself. It holds all of its segments at once, about 100 MB per
    minute of speech.

    Args:
        original: Clip (N,), speech.
        decoded: Clip (N,).
        sample_rate: Hz.

    Returns:
        At most 1, which is best. None where the original, its silence removed, is shorter than ``STOI_SHORTEST``
        (pystoi would give 1e-5 and warn), or where pystoi is not installed.
    """
    if len(original) < STOI_SHORTEST * sample_rate or not original.any() or stoi_problem() is not None:
        return None
    from pystoi import stoi as pystoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi(original.astype(np.float64), decoded.astype(np.float64), sample_rate, extended=False))
        except RuntimeWarning:
            return None


def stoi_problem() -> str | None:
    """Say why there is no STOI here; None if there is."""
    return _problem("pystoi", "pip install 'apcodec-deploy[bench]'")


def pesq(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute wide-band PESQ by the package of that name.

    ITU-T P.862.2, of speech at 16 kHz, to which soxr takes clips of a higher rate. A clip longer than ``PESQ_LONGEST``
    is cut into equal pieces, and the mean over those that hold an utterance counts. PESQ is not free software: see the
    notice in its sources for what it may be used for.

    Args:
        original: Clip (N,), speech.
        decoded: Clip (N,).
        sample_rate: Hz.

    Returns:
        MOS-LQO, from about 1.0 to 4.64, which is best. None below 16 kHz, for a clip shorter than 1/4 s or without an
        utterance, where a piece came out silent (PESQ fails on it), or where pesq is not installed.
    """
    if sample_rate < PESQ_RATE or not original.any() or not decoded.any() or pesq_problem() is not None:
        return None
    import pesq as package

    peak = max(np.abs(original).max(), np.abs(decoded).max())
    reference, audio = (_resampled(clip / peak, sample_rate) for clip in (original, decoded))
    count = math.ceil(len(reference) / (PESQ_LONGEST * PESQ_RATE))
    borders = [len(reference) * piece // count for piece in range(count + 1)]
    scores = []
    for start, end in itertools.pairwise(borders):
        if not reference[start:end].any():
            continue
        if not audio[start:end].any():
            return None
        try:
            scores.append(float(package.pesq(PESQ_RATE, reference[start:end], audio[start:end], "wb")))
        except package.NoUtterancesError:
            continue
        except (package.PesqError, ValueError):  # a ValueError where its estimate of the delay is not a number
            return None
    return sum(scores) / len(scores) if scores else None


def pesq_problem() -> str | None:
    """Say why there is no PESQ here; None if there is."""
    return _problem("pesq", "pip install pesq")


def _resampled(clip: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    blocks = list(resample([clip[None]], sample_rate, PESQ_RATE))
    return np.asarray(np.concatenate(blocks, axis=1)[0], np.float32)


def _problem(module: str, command: str) -> str | None:
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:  # a compiled package that lacks a shared library can raise either
        return f"{module} cannot be imported ({error}); install it with: {command}"
    return None
