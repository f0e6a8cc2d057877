"""The loss of spectral distance: it is the metric LSD, and it hears what shorter windows do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from apcodec_benchmarks.metrics.spectral import lsd
from apcodec_training.spectral_distance import LogSpectralDistance

RATE = 48_000


def noise(seed: int) -> torch.Tensor:
    """A second of white noise at a tenth of full scale, (1, N)."""
    return torch.randn(1, RATE, generator=torch.Generator().manual_seed(seed)) / 10


def short_distance(original: torch.Tensor, decoded: torch.Tensor) -> float:
    """The same distance as the published losses would see it."""
    window = torch.hann_window(320)
    first, second = (
        torch.stft(clip, 1024, 40, 320, window, return_complex=True).abs().square().clamp(min=1e-8).log10()
        for clip in (original, decoded)
    )
    return float((first - second).square().mean(dim=1).sqrt().mean())


@pytest.mark.parametrize("name", ["speech_female_48k.wav", "speech_male_44k.flac"])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_it_is_the_metric(examples: Path, name: str, share: float) -> None:
    speech, rate = soundfile.read(examples / name, dtype="float32")
    clip = torch.from_numpy(speech[:RATE])[None]
    noisy = clip + share * noise(1)
    metric = lsd(clip[0].numpy(), noisy[0].numpy(), rate)
    assert float(LogSpectralDistance()(clip, noisy)) == pytest.approx(metric, abs=1e-4)


def test_a_batch_is_the_mean_of_its_clips() -> None:
    loss, clips, others = LogSpectralDistance(), torch.cat((noise(2), 3 * noise(3))), torch.cat((noise(4), noise(5)))
    alone = [float(loss(clip[None], other[None])) for clip, other in zip(clips, others, strict=True)]
    assert float(loss(clips, others)) == pytest.approx(sum(alone) / 2, abs=1e-5)


def test_a_buzz_is_farther_from_noise_than_other_noise_is() -> None:
    loss = LogSpectralDistance()
    buzz = noise(6)[:, : RATE // 150].repeat(1, 150)
    assert float(loss(noise(7), buzz)) > 2 * float(loss(noise(7), noise(8)))
    # Through a window of 6.7 ms it is noise.
    assert short_distance(noise(7), buzz) == pytest.approx(short_distance(noise(7), noise(8)), rel=0.2)


@pytest.mark.parametrize("original", ["silence", "noise"])
@pytest.mark.parametrize("decoded", ["silence", "noise", "the same"])
def test_gradients_are_finite(original: str, decoded: str) -> None:
    true = noise(9) if original == "noise" else torch.zeros(1, RATE)
    found = {"silence": torch.zeros(1, RATE), "noise": noise(10), "the same": true}[decoded].clone().requires_grad_()
    LogSpectralDistance()(true, found).backward()
    assert found.grad is not None and found.grad.isfinite().all()
