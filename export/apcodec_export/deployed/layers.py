"""The layers of the deployed network, each holding weights that are folded and typed once and for all.

Shapes: B clips, C channels, T frames, L latents. Convolutions see (B, C, T), linears and normalisations (B, T, C).

A *product* (``Convolution``, ``Upsampling``, ``Linear``) casts its input to its own type, and its result has that type.
Everything between products computes in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.model.layers import GRN_EPS, LAYER_NORM_EPS


def _emulated(x: Tensor) -> bool:
    """Whether a product of this tensor is computed in float32 and rounded once.

    That is what a GPU's tensor cores do with half precision; a CPU adds in half precision or takes 30 times as long.
    The values that pass are half-precision numbers all the same, with their range and their rounding.
    """
    return x.dtype == torch.float16 and x.device.type == "cpu" and not torch.compiler.is_exporting()


class Product(nn.Module):
    """A layer with one weight and a bias, of one type."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(dtype).contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias.to(dtype), requires_grad=False)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The layer itself, on tensors of one type."""
        raise AssertionError("a product says what it computes")

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if _emulated(x):
            return self.product(x.float(), self.weight.float(), self.bias.float()).half()
        return self.product(x, self.weight, self.bias)


class Convolution(Product):
    """A convolution over frames, (B, C in, T) to (B, C out, T / stride)."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(weight, bias, dtype)
        self.stride, self.padding, self.groups = stride, padding, groups

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv1d(x, weight, bias, stride=self.stride, padding=self.padding, groups=self.groups)


class Upsampling(Convolution):
    """A transposed convolution as a plain one with ``ratio`` times the channels, (B, C in, L) to (B, C out, ratio x L).

    Frame ``ratio x m + i`` of a transposed convolution depends on a few latents around ``m`` through taps that only
    ``i`` selects, so every ``i`` is a channel of a convolution over latents. Runtimes run this one well everywhere.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, ratio: int) -> None:
        """Rewrite a transposed convolution of stride ``ratio`` that gives ``ratio x L`` frames.

        Args:
            weight: (C in, C out, K), K at least ``ratio`` and odd or even with it.
            bias: (C out,).
            dtype: What to compute in.
            ratio: Frames per latent.
        """
        inputs, outputs, kernel = weight.shape
        padding = (kernel - ratio) // 2
        reach = (ratio - 1 + padding) // ratio
        taps = weight.new_zeros(outputs, ratio, inputs, 2 * reach + 1)
        for frame in range(ratio):
            for tap in range(-reach, reach + 1):
                # Frame `frame` of latent m sees latent m + tap through this element of the transposed kernel.
                element = frame + padding - ratio * tap
                if 0 <= element < kernel:
                    taps[:, frame, :, reach + tap] = weight[:, :, element].T
        super().__init__(taps.flatten(0, 1), bias[:, None].expand(outputs, ratio).flatten(), dtype, padding=reach)
        self.ratio, self.outputs = ratio, outputs

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        latents = super().product(x, weight, bias)
        frames = latents.reshape(latents.shape[0], self.outputs, self.ratio, latents.shape[2])
        return frames.transpose(2, 3).flatten(2)


class Linear(Product):
    """A linear layer, (B, T, C in) to (B, T, C out); its weight is stored as it is multiplied, (C in, C out)."""

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x @ weight + bias


class Normalization(nn.Module):
    """LayerNorm over channels in float32, (B, T, C) of any type to float32.

    Where a linear alone follows, scale and shift are part of it (``folded``); where the result is passed on as well,
    they stay.
    """

    def __init__(self, norm: nn.LayerNorm, *, folded: bool) -> None:
        super().__init__()
        scale, shift = norm.weight, norm.bias
        self.weight = nn.Parameter(torch.ones_like(scale) if folded else scale.clone(), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros_like(shift) if folded else shift.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.bias, LAYER_NORM_EPS)


class GlobalResponse(nn.Module):
    """The scaling of global response normalisation, (B, T, C) in float32; its shift is part of the linear after it.

    Root mean squares, not sums: a sum of squares over a minute of frames exceeds what half precision holds, and grows.
    """

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rms = (x * x).mean(dim=1, keepdim=True).sqrt()
        scale = rms / (rms.mean(dim=2, keepdim=True) + GRN_EPS * x.shape[1] ** -0.5)
        scaled: Tensor = x * (1 + self.gamma * scale)
        return scaled
