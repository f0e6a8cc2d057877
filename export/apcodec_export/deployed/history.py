"""What a causal network has seen: the state that goes into a graph, and the one that comes out of it.

Slices, concatenations, products and depthwise convolutions only: on a CPU these give the same bits however a stream is
cut into calls, which convolutions over all channels do not.

Shapes: B streams, T frames or latents of a call, C channels, H frames of history.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apcodec_export.deployed.layers import Convolution, Linear, Product
from apcodec_export.model import layers as model
from apcodec_export.model.layers import WeightNormConv1d


class Past:
    """Hands every layer in turn the part of a state that is its own, and gathers what it leaves for the next call."""

    def __init__(self, held: Tensor | None) -> None:
        """Begin with a state (B, H, all channels), or with none where layers see no history."""
        self._held, self._at = held, 0
        self._next: list[Tensor] = []

    def before(self, x: Tensor) -> Tensor:
        """What a layer sees, (B, H + T, C): its history, and what comes in now."""
        if self._held is None:
            return x
        channels, reach = x.shape[2], self._held.shape[1]
        own = self._held[:, :, self._at : self._at + channels]
        seen = torch.cat((own.to(x.dtype), x), dim=1)
        self._at += channels
        self._next.append(seen[:, -reach:].to(self._held.dtype))
        return seen

    @property
    def after(self) -> tuple[Tensor, ...]:
        """The state for the next call."""
        return (torch.cat(self._next, dim=2),) if self._next else ()


def _taps(seen: Tensor, kernel: int) -> list[Tensor]:
    """What each tap of a kernel sees of (B, H + T, C): the oldest first, each (B, T, C)."""
    last = kernel - 1
    return [seen[:, tap : tap - last] if tap < last else seen[:, tap:] for tap in range(kernel)]


class HistoryLinear(Linear):
    """A causal convolution over all channels as one product, (B, T, C in) to (B, T, C out)."""

    def __init__(
        self, layer: WeightNormConv1d | model.Convolution, dtype: torch.dtype, *also: WeightNormConv1d
    ) -> None:
        """Take over a layer; others of the same input give further channels."""
        layers = (layer, *also)
        weight = torch.cat([each.weight for each in layers])  # (C out, C in, taps)
        bias = torch.cat([_bias(each) for each in layers])
        super().__init__(weight.permute(2, 1, 0).flatten(0, 1), bias, dtype)
        self.kernel = weight.shape[2]

    def following(self, x: Tensor, past: Past) -> Tensor:
        """The layer on what comes in now, after its own past."""
        seen = past.before(x)
        y: Tensor = self(torch.cat(_taps(seen, self.kernel), dim=2) if self.kernel > 1 else seen)
        return y


class HistoryConvolution(Convolution):
    """A causal depthwise convolution, (B, T, C) to (B, T, C)."""

    def __init__(self, layer: model.Convolution, dtype: torch.dtype) -> None:
        super().__init__(layer.weight, _bias(layer), dtype, groups=layer.groups)

    def following(self, x: Tensor, past: Past) -> Tensor:
        """The layer on what comes in now, after its own past."""
        y: Tensor = self(past.before(x))
        return y


class Scale(Product):
    """A depthwise convolution of one tap, (B, T, C) to (B, T, C) in the type of what comes in."""

    def __init__(self, layer: model.Convolution, dtype: torch.dtype) -> None:
        super().__init__(layer.weight[:, 0, 0], _bias(layer), dtype)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x * weight + bias

    def following(self, x: Tensor, past: Past) -> Tensor:
        """The layer, which has no past."""
        y: Tensor = self(x)
        return y


def _bias(layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)
    return bias
