"""The decoder's front: three convolutions in one, at any distance from a clip's ends, for any shape allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from apcodec_deploy.errors import CheckpointError
from apcodec_export.deployed.front import Front
from apcodec_export.model.layers import WeightNormConv1d
from apcodec_export.network import PUBLISHED_48K

DOUBLE = torch.float64
ODD = st.sampled_from([1, 3, 5, 7])


@torch.no_grad()
def layers(
    latent_kernel: int, ratio: int, surplus: int, embed_kernel: int
) -> tuple[WeightNormConv1d, WeightNormConv1d, nn.Conv1d]:
    """Random layers with biases that matter."""
    latent = WeightNormConv1d(3, 4, latent_kernel, padding=latent_kernel // 2)
    up = WeightNormConv1d(4, 5, ratio + 2 * surplus, stride=ratio, padding=surplus, transposed=True)
    embed = nn.Conv1d(5, 2, embed_kernel, padding=embed_kernel // 2)
    generator = torch.Generator().manual_seed(latent_kernel + 10 * ratio + 100 * surplus + 1000 * embed_kernel)
    for layer in (latent, up, embed):
        layer.double()
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return latent, up, embed


@given(
    shape=st.integers(1, 9).flatmap(lambda ratio: st.tuples(ODD, st.just(ratio), st.integers(0, ratio), ODD)),
    latents=st.integers(1, 30),
)
@torch.no_grad()
def test_a_front_is_its_three_convolutions(shape: tuple[int, int, int, int], latents: int) -> None:
    latent, up, embed = layers(*shape)
    x = torch.randn(2, 3, latents, generator=torch.Generator().manual_seed(latents), dtype=DOUBLE)
    expected = embed(up(latent(x))).transpose(1, 2)
    found = Front(latent, up, embed, lambda name: DOUBLE)(x.transpose(1, 2))
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@torch.no_grad()
def test_each_product_of_a_front_has_its_own_type() -> None:
    types = {"inside": torch.float16, "start": torch.float32, "end": torch.float16}
    front = Front(*layers(7, 8, 4, 7), types.__getitem__)
    assert {name: layer.weight.dtype for name, layer in front.named_children()} == types
    assert front(torch.zeros(1, 5, 3)).dtype == torch.float16


def test_an_up_sampling_that_reaches_across_a_latent_is_refused() -> None:
    with pytest.raises(CheckpointError, match="amp_up_kernel is 26 with ratio 8, but no more than 24"):
        replace(PUBLISHED_48K, amp_up_kernel=26)
