"""The loss of incoherence: it is the correlation of band-passed waveforms, and gradients stay finite in silence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from apcodec_training.coherence import EDGES_HZ, Incoherence, bands, frame_samples

RATE = 48_000


def noise(seed: int, *, samples: int = RATE // 2, clips: int = 1) -> torch.Tensor:
    """White noise at a tenth of full scale, (clips, samples)."""
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed)) / 10


def tone(hertz: float, phase: float = 0.0) -> torch.Tensor:
    """Half a second of a sine, (1, N)."""
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(RATE // 2) / RATE + phase)[None]


def band_passed(frame: NDArray[np.float64], low: int, high: int, rate: int) -> NDArray[np.float64]:
    """The waveform of a frame's bins from ``low`` to below ``high`` Hz."""
    spectrum = np.fft.rfft(frame)
    frequencies = np.arange(len(spectrum)) * rate
    spectrum[(frequencies < low * len(frame)) | (frequencies >= high * len(frame))] = 0
    return np.fft.irfft(spectrum, len(frame))


@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_it_is_one_minus_the_correlation_of_band_passed_waveforms(rate: int) -> None:
    original, other = noise(1, samples=rate // 4), noise(2, samples=rate // 4)
    decoded = original + 0.7 * other
    length = frame_samples(rate)
    window = np.hanning(length + 1)[:-1]
    found = []
    for start in range(0, rate // 4 - length + 1, length // 4):
        true, heard = (window * clip[0, start : start + length].double().numpy() for clip in (original, decoded))
        for low, high in pairwise(EDGES_HZ):
            first, second = band_passed(true, low, high, rate), band_passed(heard, low, high, rate)
            found.append(first @ second / np.sqrt((first @ first) * (second @ second)))
    assert float(Incoherence(rate)(original, decoded)) == pytest.approx(1 - np.mean(found), abs=1e-4)


def test_a_waveform_follows_itself_at_any_level_and_not_upside_down() -> None:
    clip, loss = noise(3), Incoherence(RATE)
    assert float(loss(clip, clip)) == pytest.approx(0, abs=1e-3)
    assert float(loss(clip, 0.01 * clip)) == pytest.approx(0, abs=0.01)
    assert float(loss(1e-3 * clip, 1e-3 * clip)) == pytest.approx(0, abs=0.01)
    assert float(loss(clip, -clip)) == pytest.approx(2, abs=1e-3)
    assert float(loss(clip, noise(4))) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("hertz", "turns", "expected"), [(300, 0.25, 1), (1450, 0.5, 2), (1450, 1, 0)])
def test_a_phase_counts_where_it_is_coded(hertz: float, turns: float, expected: float) -> None:
    loss = Incoherence(RATE)
    assert float(loss(tone(hertz), tone(hertz, 2 * torch.pi * turns))) == pytest.approx(expected, abs=0.02)


def test_what_is_above_the_bands_counts_for_nothing() -> None:
    speech, loss = tone(440) + tone(700), Incoherence(RATE)
    assert float(loss(speech + tone(9000), speech + tone(9000, 3.0))) == pytest.approx(0, abs=1e-3)


def test_recorded_speech_counts_as_much_as_it_is_changed(examples: Path) -> None:
    speech, rate = soundfile.read(examples / "speech_female_48k.wav", dtype="float32")
    clip = torch.from_numpy(speech[:rate])[None]
    added = noise(5, samples=rate) * clip.square().mean().sqrt() * 10
    losses = [float(Incoherence(rate)(clip, clip + share * added)) for share in (0.0, 0.1, 0.3, 1.0, 3.0)]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(0, abs=1e-3)


def test_silent_clips_and_frames_are_left_out() -> None:
    loss, clip, other = Incoherence(RATE), noise(6), noise(7)
    silence = torch.zeros_like(clip)
    assert float(loss(silence, other)) == 0
    beside = loss(torch.cat((clip, silence)), torch.cat((clip + other, other)))
    assert float(beside) == pytest.approx(float(loss(clip, clip + other)), abs=1e-6)
    after = loss(torch.cat((clip, silence), dim=1), torch.cat((clip, 1e-4 * other), dim=1))
    assert float(after) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("original", [0.0, 0.25])
@pytest.mark.parametrize("decoded", [0.0, 0.25])
def test_gradients_are_finite_where_nothing_moves(original: float, decoded: float) -> None:
    found = torch.full((1, RATE), decoded, requires_grad=True)
    Incoherence(RATE)(torch.full((1, RATE), original), found).backward()
    assert found.grad is not None and found.grad.isfinite().all()


def test_gradients_are_finite_where_the_decoder_is_silent() -> None:
    found = torch.zeros(1, RATE // 2, requires_grad=True)
    Incoherence(RATE)(noise(8), found).backward()
    assert found.grad is not None and found.grad.isfinite().all()
    assert found.grad.abs().max() > 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_bands_share_no_bin_and_none_is_empty(rate: int) -> None:
    found = bands(rate)
    assert found.shape == (len(EDGES_HZ) - 1, frame_samples(rate) // 2 + 1)
    assert found.sum(dim=0).max() == 1
    assert found.sum(dim=1).min() >= 3
