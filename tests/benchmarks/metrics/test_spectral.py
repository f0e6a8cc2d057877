"""LSD and mel distance beside the authors' way in PyTorch, a plain DFT, and triangles drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_benchmarks.metrics.spectral import lsd, mel

RATE = 48_000


def white(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def spectrum(clip: NDArray[np.float32], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Magnitudes (1025, T), centred and reflected by PyTorch."""
    window = torch.hann_window(2048, dtype=dtype)
    return torch.stft(torch.from_numpy(clip).to(dtype), 2048, 512, window=window, return_complex=True).abs()


def authors_lsd(original: NDArray[np.float32], decoded: NDArray[np.float32], dtype: torch.dtype) -> float:
    logs = [spectrum(clip, dtype).pow(2).clamp(min=1e-8).log10() for clip in (original, decoded)]
    return float((logs[0] - logs[1]).pow(2).mean(dim=0).sqrt().mean())


def drawn_triangles(rate: int) -> NDArray[np.float64]:
    """80 triangles (1025, 80) of unit area on Slaney's scale: 66.7 Hz a step to 1 kHz, then 27 steps to 6.4 kHz."""
    top = 15 + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
    steps = np.linspace(0, top, 82)
    corners = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** ((steps - 15) / 27))
    frequencies = np.arange(1025) * rate / 2048
    bands = [
        np.interp(frequencies, [low, middle, high], [0, 2 / (high - low), 0])
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False)
    ]
    return np.stack(bands, axis=1)


def test_lsd_is_that_of_the_authors_way(pair: Any) -> None:
    value = lsd(pair.original, pair.decoded, pair.rate)
    assert value == pytest.approx(authors_lsd(pair.original, pair.decoded, torch.float64), abs=1e-9)
    assert value == pytest.approx(authors_lsd(pair.original, pair.decoded, torch.float32), abs=1e-3)


def test_lsd_is_that_of_a_plain_dft() -> None:
    turns = np.outer(np.arange(1025), np.arange(2048)) / 2048
    transform = np.exp(-2j * np.pi * turns) * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048))
    logs = []
    for clip in (white(1600), white(1600, 1)):
        # The corners are not repeated: ... 2 1 | 0 1 2 ... 1598 1599 | 1598 1597 ...
        long = np.concatenate([clip[1024:0:-1], clip, clip[-2:-1026:-1]])
        frames = [transform @ long[start : start + 2048] for start in (0, 512, 1024, 1536)]
        logs.append([np.log10(np.abs(frame) ** 2) for frame in frames])
    means = [np.sqrt(np.mean((one - other) ** 2)) for one, other in zip(*logs, strict=True)]
    assert lsd(white(1600), white(1600, 1), RATE) == pytest.approx(float(np.mean(means)), abs=1e-9)


@pytest.mark.parametrize("samples", [1025, 1535, 1536, 2047, 2048, 2049, 130_560, 131_071, 131_072, 131_584])
def test_any_length_gives_the_frames_of_pytorch(samples: int) -> None:
    original, decoded = white(samples), white(samples, 1)
    expected = authors_lsd(original, decoded, torch.float64)
    assert lsd(original, decoded, RATE) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("samples", [1, 2, 700, 1024])
def test_what_cannot_be_reflected_is_extended_with_zeros(samples: int) -> None:
    original, decoded = white(samples), white(samples, 1)
    long = [np.concatenate([clip, np.zeros(1025 - samples, np.float32)]) for clip in (original, decoded)]
    assert lsd(original, decoded, RATE) == pytest.approx(authors_lsd(*long, torch.float64), abs=1e-9)
    assert mel(original, decoded, RATE) == pytest.approx(mel(*long, RATE))


def test_mel_is_that_of_drawn_triangles(pair: Any) -> None:
    triangles = torch.from_numpy(drawn_triangles(pair.rate))
    logs = [(spectrum(clip).T @ triangles).clamp(min=1e-5).log10() for clip in (pair.original, pair.decoded)]
    assert mel(pair.original, pair.decoded, pair.rate) == pytest.approx(
        float((logs[0] - logs[1]).abs().mean()), abs=1e-9
    )


def test_mel_is_absent_where_a_band_would_be_empty() -> None:
    assert mel(white(5000), white(5000, 1), 192_000) is not None
    assert mel(white(5000), white(5000, 1), 384_000) is None


@pytest.mark.parametrize("gain", [0.5, 2.0, 10.0])
def test_a_gain_is_as_far_as_its_logarithm(gain: float) -> None:
    original = white(20_000)
    assert lsd(original, original * np.float32(gain), RATE) == pytest.approx(abs(2 * np.log10(gain)), abs=1e-6)
    assert mel(original, original * np.float32(gain), RATE) == pytest.approx(abs(np.log10(gain)), abs=1e-6)


def test_below_the_floors_everything_is_alike() -> None:
    silence, whisper = np.zeros(4000, np.float32), white(4000) * np.float32(1e-9)
    assert lsd(silence, whisper, RATE) == 0
    assert mel(silence, whisper, RATE) == 0
    assert lsd(silence, np.full(4000, 1, np.float32), RATE) != 0


@settings(max_examples=30)
@given(samples=st.integers(1, 6000), levels=st.lists(st.floats(0, 2), min_size=3, max_size=3))
def test_they_are_distances(samples: int, levels: list[float]) -> None:
    clips = [white(samples) + np.float32(level) * white(samples, seed) for seed, level in enumerate(levels, 1)]
    for metric in (lsd, mel):
        assert metric(clips[0], clips[0], RATE) == 0
        sides = [metric(clips[one], clips[other], RATE) for one, other in ((0, 1), (1, 2), (0, 2))]
        assert metric(clips[1], clips[0], RATE) == sides[0]
        assert sides[0] is not None and sides[1] is not None and sides[2] is not None
        assert sides[2] <= sides[0] + sides[1] + 1e-9
