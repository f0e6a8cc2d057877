"""Stored clips with degraded versions of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

SECONDS = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """An original (N,), what became of it (N,), and their sample rate."""

    original: NDArray[np.float32]
    decoded: NDArray[np.float32]
    rate: int


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """White noise of variance 1."""
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def noisy(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    return clip + np.float32(0.01) * noise(len(clip))


def low_passed(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.convolve(clip, np.ones(9) / 9, mode="same").astype(np.float32)


def amplified(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """By 3 dB, with what exceeds half of the peak cut off, and an offset."""
    peak = np.abs(clip).max()
    return (np.clip(1.4125 * clip, -peak / 2, peak / 2) + 0.01).astype(np.float32)


DEGRADED = {
    "speech_female_48k.wav": noisy,
    "speech_male_44k.flac": amplified,
    "speech_german_22k.wav": low_passed,
    "music_44k.ogg": noisy,
}


@pytest.fixture(params=sorted(DEGRADED))
def pair(request: pytest.FixtureRequest, examples: Path) -> Pair:
    """Each example clip in turn with its degraded version."""
    audio, rate = soundfile.read(examples / request.param, dtype="float32", always_2d=True, frames=SECONDS * 48_000)
    original = np.ascontiguousarray(audio[: SECONDS * rate].mean(axis=1, dtype=np.float32))
    return Pair(original, DEGRADED[request.param](original), rate)
