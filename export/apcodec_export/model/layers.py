"""The layers that every part of the network is made of.

Shapes: B clips, C channels, T frames. Convolutions see (B, C, T), normalisations and linears (B, T, C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        padding: int = 0,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        shape = (inputs, outputs, kernel) if transposed else (outputs, inputs, kernel)
        self.weight_g = nn.Parameter(torch.ones(shape[0], 1, 1))
        self.weight_v = nn.Parameter(torch.empty(shape).normal_(0.0, 0.01))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride, self.padding, self.transposed = stride, padding, transposed

    @property
    def weight(self) -> Tensor:
        """The weight that the convolution applies."""
        length: Tensor = torch.linalg.vector_norm(self.weight_v.flatten(1), dim=1)
        return self.weight_g * self.weight_v / length[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        convolve = F.conv_transpose1d if self.transposed else F.conv1d
        return convolve(x, self.weight, self.bias, stride=self.stride, padding=self.padding)


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


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two linears with GELU between, residual; (B, C, T) to (B, C, T).

    The 48 kHz family normalises the inner channels globally (``grn``), the 16 kHz family scales the block's output
    per channel (``gamma``).
    """

    def __init__(self, dim: int, intermediate_dim: int, *, kernel: int, grn: bool, layer_scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(dim, intermediate_dim)
        self.grn = GlobalResponseNorm(intermediate_dim) if grn else None
        self.pwconv2 = nn.Linear(intermediate_dim, dim)
        self.gamma = None if grn else nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.dwconv(x).transpose(1, 2))
        y = F.gelu(self.pwconv1(y))
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + y.transpose(1, 2)
