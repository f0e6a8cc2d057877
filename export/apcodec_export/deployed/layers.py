"""The layers of the deployed network, each holding weights that are folded and typed once and for all.

Shapes: B clips, T frames, C channels; everything is (B, T, C), so that what follows a linear is a linear's neighbour.

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
    """A convolution over frames, (B, T, C in) to (B, T / stride, C out)."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(weight, bias, dtype)
        self.stride, self.padding, self.groups = stride, padding, groups

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv1d(x.transpose(1, 2), weight, bias, stride=self.stride, padding=self.padding, groups=self.groups)
        return y.transpose(1, 2)


class LinearConvolution(Convolution):
    """A linear and the convolution after it as one convolution, (B, T, C in) to (B, T / stride, C out).

    The convolution pads what the linear gives with zeros, so the linear's bias must be missing beyond the clip's ends.
    It comes in as the weights of one more channel, which is one within the clip and zero in the padding.
    """

    def __init__(self, linear: Linear, convolution: Convolution, dtype: torch.dtype) -> None:
        channels = torch.cat((linear.weight, linear.bias[None]))
        weight = torch.einsum("och,ic->oih", convolution.weight, channels)
        super().__init__(weight, convolution.bias, dtype, stride=convolution.stride, padding=convolution.padding)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return super().product(F.pad(x, (0, 1), value=1.0), weight, bias)


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
    """The scaling of global response normalisation, (B, T, C) in float32; its shift is part of the linear after it."""

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma.clone(), requires_grad=False)

    def forward(self, x: Tensor, ones: Tensor) -> Tensor:
        """Scale by the energy of each channel.

        Args:
            x: (B, T, C).
            ones: A row of ones, (1, 1, T). The sum over frames is a product with it: runtimes reduce a middle axis at a
                tenth of the speed.
        """
        norm = (ones @ (x * x)).sqrt()
        scaled: Tensor = x * (1 + self.gamma * (norm / (norm.mean(dim=2, keepdim=True) + GRN_EPS)))
        return scaled
