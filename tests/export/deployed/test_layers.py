"""The deployed layers against PyTorch's own: in float64, and in half precision against its real half tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.deployed.layers import Convolution, GlobalResponse, Linear, LinearConvolution, Normalization

DOUBLE, HALF = torch.float64, torch.float16


def noise(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 3, 1), (8, 3, 1), (1, 3, 6), (1, 0, 1)])
def test_a_convolution_is_that_of_torch(stride: int, padding: int, groups: int) -> None:
    weight, bias, x = noise(12, 6 // groups, 7), noise(12), noise(2, 6, 40)
    found = Convolution(weight, bias, DOUBLE, stride=stride, padding=padding, groups=groups)(x.transpose(1, 2))
    expected = F.conv1d(x, weight, bias, stride=stride, padding=padding, groups=groups)
    torch.testing.assert_close(found, expected.transpose(1, 2))


@given(
    kernel=st.sampled_from([1, 3, 7]),
    stride=st.integers(1, 4),
    frames=st.integers(1, 9),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
)
def test_a_linear_within_a_convolution_stops_at_the_clips_ends(
    kernel: int, stride: int, frames: int, channels: tuple[int, int, int]
) -> None:
    inputs, between, outputs = channels
    linear = Linear(noise(inputs, between), noise(between), DOUBLE)
    after = Convolution(noise(outputs, between, kernel), noise(outputs), DOUBLE, stride=stride, padding=kernel // 2)
    x = noise(2, frames, inputs)
    torch.testing.assert_close(LinearConvolution(linear, after, DOUBLE)(x), after(linear(x)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("layer", ["convolution", "linear", "linear convolution"])
def test_half_precision_products_are_those_of_real_half_tensors(layer: str) -> None:
    """PyTorch multiplies half tensors on a CPU, slowly; the layers give the same numbers but for the last rounding."""
    bias = noise(16)
    if layer == "linear":
        x, weight = noise(2, 9, 32, dtype=HALF), noise(32, 16) / 6
        made, expected = Linear(weight, bias, HALF), x @ weight.half() + bias.half()
    else:
        x, weight = noise(2, 9, 32, dtype=HALF), noise(16, 32, 3) / 10
        made = Convolution(weight, bias, HALF)
        expected = F.conv1d(x.transpose(1, 2), weight.half(), bias.half()).transpose(1, 2)
        if layer == "linear convolution":
            made = LinearConvolution(Linear(torch.eye(32, dtype=DOUBLE), noise(32) * 0, DOUBLE), made.double(), HALF)
    found = made(x)
    assert found.dtype == expected.dtype == HALF
    torch.testing.assert_close(found, expected, rtol=4e-3, atol=4e-3)


def test_what_half_precision_cannot_hold_is_not_hidden() -> None:
    layer = Linear(torch.full((64, 1), 100.0), torch.zeros(1), HALF)
    assert layer(torch.full((1, 1, 64), 100.0)).isinf().all()


def test_a_product_has_its_own_type_whatever_comes_in() -> None:
    for dtype in (torch.float32, HALF):
        layer = Linear(noise(4, 4), noise(4), dtype)
        assert {layer(noise(1, 2, 4, dtype=given)).dtype for given in (torch.float32, HALF)} == {dtype}


@pytest.mark.parametrize("folded", [False, True])
def test_normalization_is_layer_norm_without_or_with_its_scale(folded: bool) -> None:
    theirs = nn.LayerNorm(12, eps=1e-6).requires_grad_(False)
    theirs.weight.copy_(noise(12))
    theirs.bias.copy_(noise(12))
    x = 5 * noise(2, 9, 12, dtype=torch.float32)
    expected = F.layer_norm(x, (12,), eps=1e-6) if folded else theirs(x)
    torch.testing.assert_close(Normalization(theirs, folded=folded)(x), expected)


def test_normalization_of_half_tensors_is_computed_in_float32() -> None:
    layer = Normalization(nn.LayerNorm(64), folded=True)
    x = 250 + 20 * noise(1, 3, 64, dtype=HALF)  # squares beyond what half precision holds
    found = layer(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.layer_norm(x.float(), (64,), eps=1e-6))


@pytest.mark.parametrize("frames", [1, 7, 20_000])
def test_global_response_scales_by_the_energy_of_a_channel(frames: int) -> None:
    gamma, x = noise(1, 1, 12), 300 * noise(2, frames, 12)
    energy = torch.norm(x, p=2, dim=1, keepdim=True)
    expected = x + gamma * (x * (energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)))
    torch.testing.assert_close(
        GlobalResponse(gamma)(x, torch.ones(1, 1, frames, dtype=DOUBLE)), expected, rtol=1e-10, atol=0
    )
