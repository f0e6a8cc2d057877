"""How weights start: published distributions, the data's mean spectrum, codebooks from clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from apcodec_export.checkpoint import random_checkpoint
from apcodec_export.network import PUBLISHED_48K
from apcodec_training.config import TrainingConfig
from apcodec_training.generator import Generator
from apcodec_training.start import centre_on_mean_spectrum, clusters, fill_codebooks, new_generator


@pytest.fixture(scope="module")
def batches() -> list[torch.Tensor]:
    """Noise of a falling spectrum."""
    random = torch.Generator().manual_seed(0)
    return [torch.randn(4, 1240, generator=random).cumsum(dim=1) / 100 for _ in range(3)]


def test_new_weights_are_drawn_as_published() -> None:
    made = new_generator(PUBLISHED_48K, seed=1)
    block = made.encoder.convnext_logamp[0]
    for weight in (
        each.detach() for each in (made.encoder.embed_pha.weight, block.pwconv1.weight, block.dwconv.weight)
    ):  # type: ignore[union-attr]
        assert float(weight.std()) == pytest.approx(0.02, rel=0.05)  # type: ignore[operator,union-attr]
    assert block.pwconv2.bias.abs().max() == 0  # type: ignore[union-attr,operator]
    reference = nn.Conv1d(256, 513, 7)
    conv = made.decoder.AMP_Decoder_output_conv
    assert float(conv.weight.detach().std()) == pytest.approx(float(reference.weight.detach().std()), rel=0.02)
    transposed = made.decoder.AMP_Decoder_upsample_input_conv
    torch_like = nn.ConvTranspose1d(256, 256, 16)
    assert float(transposed.weight.detach().std()) == pytest.approx(float(torch_like.weight.detach().std()), rel=0.02)
    for stage in made.encoder.quantizer.stages:
        assert float(stage.codebook.weight.detach().std()) == pytest.approx(1, rel=0.05)


def test_a_seed_makes_the_same_weights_whatever_was_drawn_before(small: TrainingConfig) -> None:
    first = new_generator(small.network, seed=4).state_dict()
    torch.rand(1)
    second = new_generator(small.network, seed=4).state_dict()
    other = new_generator(small.network, seed=5).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["encoder.embed_logamp.weight"], other["encoder.embed_logamp.weight"])


def test_the_decoder_starts_from_the_mean_spectrum(small: TrainingConfig, batches: list[torch.Tensor]) -> None:
    plain, centred = (new_generator(small.network, seed=2) for _ in range(2))
    centre_on_mean_spectrum(centred, batches)
    losses = [float(made(batches[0]).losses["amplitude"].detach()) for made in (plain, centred)]
    assert losses[1] < losses[0] / 5
    spectrum = plain.spectrum(torch.cat(batches))
    mean = spectrum.logamp.mean(dim=(0, 2))
    # The encoder sees the difference from the mean (but at the ends, where it is padded with zeros).
    seen = plain.encoder.embed_logamp(spectrum.logamp - mean[:, None])
    torch.testing.assert_close(
        centred.encoder.embed_logamp(spectrum.logamp)[..., 4:-4], seen[..., 4:-4], atol=1e-4, rtol=1e-4
    )


def test_clusters_find_directions_that_are_there() -> None:
    random = torch.Generator().manual_seed(0)
    centres = torch.eye(6) * torch.arange(1, 7)
    points = centres.repeat(50, 1) + 0.02 * torch.randn(300, 6, generator=random)
    # More centres than clusters, so that none is left without one by the draw of the first centres.
    found = clusters(points, 24, random)
    for index, centre in enumerate(centres):
        nearest = found[torch.linalg.vector_norm(found - centre, dim=1).argmin()]
        assert torch.linalg.vector_norm(nearest - centre) < 0.1, index


@pytest.mark.parametrize("count", [5, 40])
def test_there_are_as_many_clusters_as_asked_for(count: int) -> None:
    random = torch.Generator().manual_seed(1)
    found = clusters(torch.randn(20, 3, generator=random), count, random)
    assert found.shape == (count, 3) and found.isfinite().all()
    assert len(found.unique(dim=0)) == count


def test_filled_codebooks_code_better_than_drawn_ones(small: TrainingConfig) -> None:
    random = np.random.default_rng(3)
    mixed = random.normal(size=(8, 8)) @ np.diag(np.linspace(0.1, 4, 8))
    latents = torch.from_numpy((random.normal(size=(600, 8)) @ mixed + random.normal(size=8)).astype(np.float32))
    errors = []
    for fill in (False, True):
        quantizer = new_generator(small.network, seed=1).encoder.quantizer
        if fill:
            fill_codebooks(quantizer, latents, seed=0)
        with torch.no_grad():
            decoded = quantizer.decode(quantizer.encode(latents.T[None]))
            errors.append(float((decoded[0].T - latents).pow(2).mean() / latents.pow(2).mean()))
    assert errors[1] < 0.5 < errors[0]
    used = [len(codes.unique()) for codes in quantizer.encode(latents.T[None])[0]]
    assert min(used) >= 14


def test_codebooks_without_projections_can_be_filled() -> None:
    made = random_checkpoint(
        TrainingConfig()
        .changed({"network": {"projections": False, "codebook_size": 8, "num_layers": 1}}, "the test")
        .network
    )
    generator = Generator(made.network, made.encoder, made.decoder)
    fill_codebooks(generator.encoder.quantizer, torch.randn(100, 32), seed=0)
    assert generator.encoder.quantizer.stages[0].codebook.weight.isfinite().all()
