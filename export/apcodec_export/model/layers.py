"""The layers that every part of the network is made of.

Shapes: B clips, C channels, T frames. Convolutions see (B, C, T), normalisations and linears (B, T, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BlockKind = Literal["grn", "layer_scale", "affine"]
LAYER_NORM_EPS = 1e-6
GRN_EPS = 1e-6


class WeightNormConv1d(nn.Module):
    """A 1-D convolution, or its transpose, whose weight is ``g v / |v|``.

    The state-dict keys are those of ``torch.nn.utils.weight_norm`` (``weight_g``, ``weight_v``, ``bias``): one norm per
    index of the weight's first axis, which is an output channel, and an *input* channel in the transpose.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        transposed: bool = False,
    ) -> None:
        """Make a layer.

        Args:
            inputs: Channels in.
            outputs: Channels out.
            kernel: Taps.
            stride: Frames in for one out; in the transpose frames out for one in.
            padding: Zeros before and after what comes in; in the transpose frames cut off what comes out.
            transposed: Whether it is the transpose.
        """
        super().__init__()
        shape = (inputs, outputs, kernel) if transposed else (outputs, inputs, kernel)
        self.weight_g = nn.Parameter(torch.ones(shape[0], 1, 1))
        self.weight_v = nn.Parameter(torch.empty(shape).normal_(0.0, 0.01))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride, self.around, self.transposed = stride, padding, transposed

    @property
    def weight(self) -> Tensor:
        """The weight that the convolution applies."""
        length: Tensor = torch.linalg.vector_norm(self.weight_v.flatten(1), dim=1)
        return self.weight_g * self.weight_v / length[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.around
        if before == after:
            convolve = F.conv_transpose1d if self.transposed else F.conv1d
            return convolve(x, self.weight, self.bias, stride=self.stride, padding=before)
        if self.transposed:
            y = F.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)
            return y[:, :, before : y.shape[2] - after]
        return F.conv1d(F.pad(x, self.around), self.weight, self.bias, stride=self.stride)


class Convolution(nn.Conv1d):
    """A convolution over frames with zeros before and after them, (B, C, T) to (B, C out, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, padding: tuple[int, int], groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, groups=groups)
        self.around = padding

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.around
        if before == after:
            return F.conv1d(x, self.weight, self.bias, padding=before, groups=self.groups)
        return F.conv1d(F.pad(x, self.around), self.weight, self.bias, groups=self.groups)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which frames a layer sees around the one that it gives: zeros before and after a clip, or frames cut off.

    Attributes:
        causal: Whether frames after the one that is given are never seen.
    """

    causal: bool

    def same(self, kernel: int) -> tuple[int, int]:
        """Of a layer that gives as many frames as it takes; the published ones round down."""
        return (kernel - 1, 0) if self.causal else ((kernel - 1) // 2, (kernel - 1) // 2)

    def down(self, kernel: int) -> tuple[int, int]:
        """Of a layer that takes a stride of frames for each latent: exactly these, if it is causal."""
        return (0, 0) if self.causal else ((kernel - 1) // 2, (kernel - 1) // 2)

    def up(self, kernel: int, ratio: int) -> tuple[int, int]:
        """What a transposed layer cuts off: if it is causal, a latent is heard in its own frames and later ones."""
        surplus = kernel - ratio
        return (0, surplus) if self.causal else (surplus // 2, surplus // 2)


CENTRED, CAUSAL = Alignment(causal=False), Alignment(causal=True)


class GlobalResponseNorm(nn.Module):
    """Global response normalisation over the whole time axis (ConvNeXt V2; published 48 kHz code).

    Each channel is scaled by its energy over *all* frames relative to the mean of all channels. So a frame depends on
    the length of the clip: padding, batching with padding and window length change codes.

    Written with root mean squares instead of norms: dividing both by ``sqrt(T)`` is the same maths once the epsilon is
    divided too, and nothing grows with the clip's length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        # Unlike the square root of a mean, this has a gradient where a channel is silent: zero.
        rms = torch.linalg.vector_norm(x, dim=1, keepdim=True) * x.shape[1] ** -0.5
        scale = rms / (rms.mean(dim=2, keepdim=True) + GRN_EPS * x.shape[1] ** -0.5)
        scaled: Tensor = x * (1 + self.gamma * scale)
        return scaled + self.beta


class ChannelAffine(nn.Module):
    """A learned scale and shift per channel, (B, T, C): what a causal model has where GRN looks at the whole clip."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two linears with GELU between, residual; (B, C, T) to (B, C, T).

    The 48 kHz family normalises the inner channels globally (``grn``), the 16 kHz family scales the block's output
    per channel (``gamma``), the streamable one scales and shifts the inner channels (``affine``) and is causal.
    """

    def __init__(self, dim: int, intermediate_dim: int, *, kernel: int, kind: BlockKind, layer_scale: float) -> None:
        super().__init__()
        alignment = CAUSAL if kind == "affine" else CENTRED
        self.dwconv = Convolution(dim, dim, kernel, padding=alignment.same(kernel), groups=dim)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(dim, intermediate_dim)
        self.grn = GlobalResponseNorm(intermediate_dim) if kind == "grn" else None
        self.affine = ChannelAffine(intermediate_dim) if kind == "affine" else None
        self.pwconv2 = nn.Linear(intermediate_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale)) if kind == "layer_scale" else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.dwconv(x).transpose(1, 2))
        y = F.gelu(self.pwconv1(y))
        if self.grn is not None:
            y = self.grn(y)
        if self.affine is not None:
            y = self.affine(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + y.transpose(1, 2)
