"""The decoder's front: three convolutions in one or in turn, at any distance from a clip's ends, for any shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from apcodec_export.deployed.front import FoldedFront, StepwiseFront, front
from apcodec_export.model.layers import WeightNormConv1d

DOUBLE = torch.float64
ODD = st.sampled_from([1, 3, 5, 7])


@torch.no_grad()
def layers(
    latent_kernel: int, ratio: int, surplus: int, embed_kernel: int
) -> tuple[WeightNormConv1d, WeightNormConv1d, nn.Conv1d]:
    """Random layers with biases that matter."""
    latent = WeightNormConv1d(3, 4, latent_kernel, padding=(latent_kernel // 2, latent_kernel // 2))
    up = WeightNormConv1d(4, 5, ratio + surplus, stride=ratio, padding=(surplus // 2, surplus // 2), transposed=True)
    embed = nn.Conv1d(5, 2, embed_kernel, padding=embed_kernel // 2)
    generator = torch.Generator().manual_seed(latent_kernel + 10 * ratio + 100 * surplus + 1000 * embed_kernel)
    for layer in (latent, up, embed):
        layer.double()
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return latent, up, embed


@given(
    shape=st.integers(1, 9).flatmap(lambda ratio: st.tuples(ODD, st.just(ratio), st.integers(0, 5 * ratio), ODD)),
    latents=st.integers(1, 30),
)
@torch.no_grad()
def test_a_front_is_its_three_convolutions(shape: tuple[int, int, int, int], latents: int) -> None:
    latent, up, embed = layers(*shape)
    x = torch.randn(2, 3, latents, generator=torch.Generator().manual_seed(latents), dtype=DOUBLE)
    expected = embed(up(latent(x))).transpose(1, 2)
    found = front(latent, up, embed, lambda name: DOUBLE)(x.transpose(1, 2))
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("surplus", "folded"), [(0, True), (2, True), (8, True), (10, False), (1, False)], ids=lambda value: str(value)
)
@torch.no_grad()
def test_a_front_is_folded_where_no_frame_is_near_both_ends(surplus: int, folded: bool) -> None:
    made = front(*layers(7, 4, surplus, 7), lambda name: DOUBLE)
    assert isinstance(made, FoldedFront if folded else StepwiseFront)


@pytest.mark.parametrize(
    ("surplus", "types"),
    [
        (8, {"inside": torch.float16, "start": torch.float32, "end": torch.float16}),
        (24, {"hidden": torch.float32, "raised": torch.float16, "frames": torch.float16}),
    ],
    ids=["folded", "in turn"],
)
@torch.no_grad()
def test_each_product_of_a_front_has_its_own_type(surplus: int, types: dict[str, torch.dtype]) -> None:
    made = front(*layers(7, 8, surplus, 7), types.__getitem__)
    assert {name: layer.weight.dtype for name, layer in made.named_children()} == types
    assert made(torch.zeros(1, 5, 3)).dtype == torch.float16
