"""Discriminators and their game: published shapes, and losses written out."""

from __future__ import annotations

import pytest
import torch

from apcodec_training.adversarial import adversarial_losses, discriminator_losses
from apcodec_training.config import DiscriminatorConfig, TrainingConfig
from apcodec_training.discriminators import Discriminators, PeriodDiscriminator, ResolutionDiscriminator


def test_discriminators_are_of_the_published_size() -> None:
    judges = Discriminators(DiscriminatorConfig())
    # Five of 8,219,937 weights and biases with their lengths (HiFi-GAN's), three of 117,000 each.
    period = sum(each.numel() for each in judges.periods[0].parameters())
    weights = [(1, 32), (32, 128), (128, 512), (512, 1024), (1024, 1024)]
    assert period == sum(5 * a * b + 2 * b for a, b in weights) + 3 * 1024 + 2
    resolution = sum(each.numel() for each in judges.resolutions[0].parameters())
    assert resolution == 64 * (35 + 2) + 2 * 64 * (64 * 15 + 2) + 2 * 64 * (64 * 9 + 2) + 64 * 9 + 2
    assert len(judges.periods) == 5 and len(judges.resolutions) == 3


@pytest.mark.parametrize("samples", [7960, 7961])
def test_a_period_folds_the_waveform(samples: int) -> None:
    audio = torch.randn(2, samples)
    folded = PeriodDiscriminator(7, 2).picture(audio)
    assert folded.shape == (2, 1, -(-samples // 7), 7)
    torch.testing.assert_close(folded[:, 0, :1000].flatten(1), audio[:, :7000])
    scores = PeriodDiscriminator(7, 2)(audio)[-1]
    assert scores.shape == (2, 1, -(-folded.shape[2] // 81), 7)


def test_a_resolution_looks_at_magnitudes_under_a_rectangle() -> None:
    audio = torch.randn(1, 4000)
    picture = ResolutionDiscriminator((512, 20, 160), 2).picture(audio)
    assert picture.shape == (1, 1, 257, 201)
    frame = torch.fft.rfft(audio[0, 2000 - 80 : 2000 + 80], n=512).abs()
    torch.testing.assert_close(picture[0, 0, :, 100], frame, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_losses_are_hinges_and_layer_by_layer_distances(small: TrainingConfig) -> None:
    torch.manual_seed(2)
    judges = Discriminators(small.discriminators)
    original, decoded = judges(torch.randn(2, 1240)), judges(torch.randn(2, 1240))
    found = discriminator_losses(original, decoded) | adversarial_losses(original, decoded)
    for index, family in enumerate(("period", "resolution")):
        hinge = convinced = features = 0.0
        for true, false in zip(original[index], decoded[index], strict=True):
            hinge += float((1 - true[-1]).clamp(min=0).mean() + (1 + false[-1]).clamp(min=0).mean())
            convinced += float((1 - false[-1]).clamp(min=0).mean())
            features += sum(float((a - b).abs().mean()) for a, b in zip(true, false, strict=True))
        assert float(found[f"{family}_discriminator"]) == pytest.approx(hinge, rel=1e-5)
        assert float(found[f"{family}_adversarial"]) == pytest.approx(convinced, rel=1e-5)
        assert float(found[f"{family}_features"]) == pytest.approx(features, rel=1e-5)


def test_a_family_can_be_left_out(small: TrainingConfig) -> None:
    alone = small.changed({"discriminators": {"periods": []}}, "the test")
    judges = Discriminators(alone.discriminators)
    judged = judges(torch.randn(1, 1240))
    assert set(adversarial_losses(judged, judged)) == {"resolution_adversarial", "resolution_features"}
    assert set(discriminator_losses(judged, judged)) == {"resolution_discriminator"}
