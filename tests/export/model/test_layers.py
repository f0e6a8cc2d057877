"""Every layer against PyTorch's own, or against the formula that was published for it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from apcodec_export.model.layers import BlockKind, ConvNeXtBlock, GlobalResponseNorm, WeightNormConv1d

CONVOLUTIONS = [
    pytest.param(6, 10, 7, 1, 3, False, id="same"),
    pytest.param(6, 3, 15, 8, 7, False, id="down"),
    pytest.param(32, 32, 1, 1, 0, False, id="projection"),
    pytest.param(6, 10, 16, 8, 4, True, id="up"),
    pytest.param(10, 6, 6, 4, 1, True, id="narrow up"),
]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _pair(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, transposed: bool
) -> tuple[WeightNormConv1d, nn.Module]:
    """Our layer and PyTorch's, with the same direction, length and bias."""
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    theirs = parametrizations.weight_norm(kind(inputs, outputs, kernel, stride, padding))
    original = theirs.parametrizations.weight
    original.original0.data = noise(*original.original0.shape)
    original.original1.data = noise(*original.original1.shape)
    ours = WeightNormConv1d(inputs, outputs, kernel, stride=stride, padding=(padding, padding), transposed=transposed)
    ours.load_state_dict({"weight_g": original.original0, "weight_v": original.original1, "bias": theirs.bias})
    return ours.requires_grad_(False), theirs.requires_grad_(False)


@pytest.mark.parametrize(("inputs", "outputs", "kernel", "stride", "padding", "transposed"), CONVOLUTIONS)
def test_a_weight_normed_convolution_is_that_of_torch(
    inputs: int, outputs: int, kernel: int, stride: int, padding: int, transposed: bool
) -> None:
    ours, theirs = _pair(inputs, outputs, kernel, stride, padding, transposed)
    x = noise(2, inputs, 41)
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_keys_are_those_of_the_old_weight_norm(transposed: bool) -> None:
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and what published checkpoints were made with
        theirs = nn.utils.weight_norm(kind(6, 10, 5))
    ours = WeightNormConv1d(6, 10, 5, transposed=transposed)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(noise(1, 6, 9)), theirs(noise(1, 6, 9)))


def _published_grn(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    energy = torch.norm(x, p=2, dim=1, keepdim=True)
    return gamma * (x * (energy / (energy.mean(dim=-1, keepdim=True) + 1e-6))) + beta + x


@pytest.mark.parametrize("frames", [1, 2, 7, 5000])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-9, 300.0])
def test_global_response_norm_is_the_published_formula(frames: int, size: float) -> None:
    layer = GlobalResponseNorm(12).double().requires_grad_(False)
    layer.gamma.copy_(noise(1, 1, 12))
    layer.beta.copy_(noise(1, 1, 12) * size)
    x = size * noise(2, frames, 12).double()
    torch.testing.assert_close(layer(x), _published_grn(x, layer.gamma, layer.beta), rtol=1e-10, atol=0)


def test_global_response_norm_of_silence_is_its_offset() -> None:
    layer = GlobalResponseNorm(4)
    layer.beta.data = noise(1, 1, 4)
    assert torch.equal(layer(torch.zeros(1, 9, 4)), layer.beta.expand(1, 9, 4))


def test_global_response_norm_in_half_precision_does_not_overflow_over_a_long_clip() -> None:
    layer = GlobalResponseNorm(3).half()
    layer.gamma.data += 1
    x = 20 * noise(1, 40_000, 3).half()
    expected = _published_grn(x.double(), layer.gamma.double(), layer.beta.double())
    torch.testing.assert_close(layer(x).double(), expected, rtol=5e-3, atol=1e-2)


@pytest.mark.parametrize("kind", ["grn", "layer_scale", "affine"])
@pytest.mark.parametrize("frames", [1, 5, 30])
def test_a_block_keeps_the_shape_and_begins_with_its_input(kind: BlockKind, frames: int) -> None:
    block = ConvNeXtBlock(8, 20, kernel=7, kind=kind, layer_scale=0.5).requires_grad_(False)
    x = noise(3, 8, frames)
    assert block(x).shape == x.shape
    assert not torch.equal(block(x), x)
    block.pwconv2.weight.zero_()
    block.pwconv2.bias.zero_()
    assert torch.equal(block(x), x)


def test_layer_scale_scales_what_a_block_adds() -> None:
    block = ConvNeXtBlock(8, 20, kernel=7, kind="layer_scale", layer_scale=1.0).requires_grad_(False)
    x, scale = noise(2, 8, 11), noise(8)
    added = block(x) - x
    block.gamma.copy_(scale)
    torch.testing.assert_close(block(x) - x, scale[None, :, None] * added, rtol=1e-4, atol=1e-6)
