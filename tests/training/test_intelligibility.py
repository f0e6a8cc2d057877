"""The loss of intelligibility: it is what pystoi measures, and gradients stay finite where nothing is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from apcodec_training.intelligibility import BANDS, Unintelligibility, least_samples, third_octaves

RATE = 48_000


@pytest.mark.parametrize("name", ["speech_female_48k.wav", "speech_male_44k.flac", "speech_german_22k.wav"])
@pytest.mark.parametrize("noise_db", [-20, -5, 5])
def test_it_is_one_minus_stoi(examples: Path, name: str, noise_db: int) -> None:
    from pystoi import stoi  # which takes seconds

    speech, rate = soundfile.read(examples / name)
    speech = speech[: 3 * rate]
    noise = np.random.default_rng(1).standard_normal(len(speech)) * speech.std() * 10 ** (noise_db / 20)
    noisy = speech + noise
    found = Unintelligibility(rate)(*(torch.from_numpy(each[None]).float() for each in (speech, noisy)))
    # pystoi resamples to 10 kHz and leaves silent frames out instead of silent spans.
    assert float(found) == pytest.approx(1 - stoi(speech, noisy, rate), abs=0.04)


def test_a_clip_is_understood_as_itself_at_any_level() -> None:
    clip = torch.randn(2, RATE, generator=torch.Generator().manual_seed(2)) / 10
    loss = Unintelligibility(RATE)
    assert float(loss(clip, clip)) == pytest.approx(0, abs=1e-3)
    assert float(loss(clip, 0.01 * clip)) == pytest.approx(0, abs=1e-3)
    assert float(loss(clip, clip.flip(0))) > 0.5


def test_silence_says_nothing() -> None:
    loss, shortest = Unintelligibility(RATE), least_samples(RATE)
    clip = torch.randn(1, shortest, generator=torch.Generator().manual_seed(3)) / 10
    silence, noise = torch.zeros(1, shortest), torch.randn(1, shortest)
    assert float(loss(silence, noise)) == 0
    alone, beside = loss(clip, noise), loss(torch.cat((clip, silence)), torch.cat((noise, noise)))
    assert float(beside) == pytest.approx(float(alone), abs=1e-6)


@pytest.mark.parametrize("original", [0.0, 0.25])
@pytest.mark.parametrize("decoded", [0.0, 0.25])
def test_gradients_are_finite_where_nothing_moves(original: float, decoded: float) -> None:
    found = torch.full((1, RATE), decoded, requires_grad=True)
    Unintelligibility(RATE)(torch.full((1, RATE), original), found).backward()
    assert found.grad is not None and found.grad.isfinite().all()
    assert found.grad.abs().max() < 1


def test_bands_are_thirds_of_octaves_that_share_no_bin() -> None:
    bands = third_octaves(RATE, 2048)
    assert bands.shape == (BANDS, 1025)
    assert bands.sum(axis=0).max() == 1
    assert bands.sum(axis=1).min() >= 1
    width = RATE / 2048
    highest = np.flatnonzero(bands[-1])
    assert highest[0] * width == pytest.approx(3810 * 2 ** (-1 / 6), abs=width)
    assert highest[-1] * width == pytest.approx(3810 * 2 ** (1 / 6), abs=width)
