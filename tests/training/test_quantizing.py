"""The quantizer in training: its numbers, its gradients, and entries that nothing uses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from apcodec_export.model.quantizer import ResidualVectorQuantizer
from apcodec_training.config import TrainingConfig
from apcodec_training.quantizing import CodebookUsage, quantize, revive


@pytest.fixture
def quantizer(small: TrainingConfig) -> ResidualVectorQuantizer:
    torch.manual_seed(5)
    return ResidualVectorQuantizer(small.network)


def test_codes_and_latents_are_those_of_the_deployed_quantizer(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.randn(3, 8, 11)
    found = quantize(quantizer, latent)
    codes = quantizer.encode(latent)
    assert torch.equal(found.codes, codes)
    torch.testing.assert_close(found.latent, quantizer.decode(codes))


@torch.no_grad()
def test_losses_are_squared_distances_in_the_codebooks_own_channels(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.randn(2, 8, 5)
    residual, expected = latent, 0.0
    for stage in quantizer.stages:
        assert stage.in_proj is not None and stage.out_proj is not None
        projected = F.conv1d(residual, stage.in_proj.weight, stage.in_proj.bias)
        for clip in range(2):
            for place in range(5):
                vector = projected[clip, :, place]
                entry = max(stage.codebook.weight, key=lambda row: float(F.cosine_similarity(row, vector, dim=0)))
                expected += float(((entry - vector) ** 2).mean()) / 10
                residual = residual.clone()
                residual[clip, :, place] -= stage.out_proj.weight[:, :, 0] @ entry + stage.out_proj.bias
    found = quantize(quantizer, latent)
    assert float(found.codebook) == float(found.commitment) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_passes_as_if_nothing_were_quantized(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.randn(2, 8, 5, requires_grad=True)
    weights = torch.randn(2, 8, 5)
    (quantize(quantizer, latent).latent * weights).sum().backward()
    straight = torch.zeros_like(latent).requires_grad_()
    residual, found = straight, torch.zeros_like(straight)
    for stage in quantizer.stages:
        passed = stage.expand(stage.project(residual))
        residual, found = residual - passed, found + passed
    (found * weights).sum().backward()
    torch.testing.assert_close(latent.grad, straight.grad)


def test_usage_counts_what_was_used(quantizer: ResidualVectorQuantizer) -> None:
    usage = CodebookUsage(quantizer, torch.device("cpu"))
    first = torch.tensor([[[0, 0, 3], [1, 2, 3]], [[0, 3, 3], [1, 1, 1]]])
    for codes in (first, torch.zeros_like(first)):
        usage.add(usage.count(codes))
    assert usage.idle[0].tolist() == [0, 2, 2, 1] + [2] * 12
    assert usage.counts[:, 0].tolist() == [9, 6]
    report = usage.report()
    assert report["usage"] == [2 / 16, 4 / 16]
    share = torch.tensor([9 / 12, 3 / 12])
    assert report["perplexity"][0] == pytest.approx(float(torch.exp(-(share * share.log()).sum())))
    assert usage.counts.sum() == 0


def test_dead_entries_move_to_the_data_and_forget_their_momentum(quantizer: ResidualVectorQuantizer) -> None:
    optimiser = torch.optim.AdamW(quantizer.parameters(), 0.1)
    made = quantize(quantizer, torch.randn(4, 8, 20))
    made.codebook.backward()
    optimiser.step()
    usage = CodebookUsage(quantizer, torch.device("cpu"))
    usage.idle[0, :5], usage.idle[1, 7] = 10, 12
    usage.idle[0, 5] = 9
    before = [stage.codebook.weight.clone() for stage in quantizer.stages]

    moved = revive(quantizer, usage, made.encoded, optimiser, after=10, random=torch.Generator().manual_seed(1))

    assert moved == 6
    assert usage.idle[0, :6].tolist() == [0, 0, 0, 0, 0, 9]
    for index, (dead, kept) in enumerate(((slice(0, 5), slice(5, 16)), (slice(7, 8), slice(8, 16)))):
        weight = quantizer.stages[index].codebook.weight
        seen = made.encoded[index].transpose(1, 2).flatten(0, 1)
        assert all((row == seen).all(dim=1).any() for row in weight[dead])
        assert torch.equal(weight[kept], before[index][kept])
        assert optimiser.state[weight]["exp_avg"][dead].abs().max() == 0
    assert optimiser.state[quantizer.stages[0].codebook.weight]["exp_avg"].abs().max() > 0
