"""The decoder's way from latents to frames: three convolutions folded into one product over latents, or in turn.

Between latent and first normalisation the published decoder has a convolution over latents, a transposed one to frame
rate and one over frames, with nothing between them. Far from the clip's ends that is one linear map, the same for every
latent: from a few latents around it to its ``ratio`` frames. Near an end, what the inner convolutions pad with zeros is
missing; that too is linear in the nearest latents, so the end's frames get a correction of their own.

Those two corrections are all where a frame cannot miss the same thing for both ends. A transposed kernel of more than
three times its stride reaches across a whole latent: in a clip of one, frames beyond its start would come from latents
beyond its end. And one that exceeds its stride by an odd number gives a frame more than ``ratio`` a latent. Both run as
the three convolutions that they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.deployed.layers import Convolution, Linear
from apcodec_export.model.layers import WeightNormConv1d

Types = Callable[[str], torch.dtype]
"""The type of a layer by its name."""


def front(latent: WeightNormConv1d, up: WeightNormConv1d, embed: nn.Conv1d, types: Types) -> nn.Module:
    """Latents to what the first normalisation takes, (B, L, D) to (B, frames, C), folded where that is exact.

    Args:
        latent: Over latents, D to any number of channels.
        up: To frames, ``ratio`` for each latent, and one more where its kernel exceeds them by an odd number.
        embed: Over frames, to C channels.
        types: The type of each product by its name.
    """
    surplus = up.weight.shape[2] - up.stride
    made = FoldedFront if surplus % 2 == 0 and surplus <= 2 * up.stride else StepwiseFront
    return made(latent, up, embed, types)


class FoldedFront(nn.Module):
    """The three layers as one product and a correction at each end, (B, L, D) to (B, ratio x L, C)."""

    def __init__(self, latent: WeightNormConv1d, up: WeightNormConv1d, embed: nn.Conv1d, types: Types) -> None:
        """Fold the layers; ``types`` is asked for ``inside``, ``start`` and ``end``."""
        super().__init__()
        self.ratio, self.channels = up.stride, embed.out_channels
        surplus = (up.weight.shape[2] - self.ratio) // 2
        frames = embed.weight.shape[2] // 2
        # Latents on each side that a frame depends on; latents whose frames miss something at an end; and latents from
        # the end on that this depends on.
        self.reach = latent.weight.shape[2] // 2 + (self.ratio - 1 + frames + surplus) // self.ratio
        self.margin = max(1, -(-(surplus + frames) // self.ratio))
        self.near = max(1, latent.weight.shape[2] // 2 + -(-surplus // self.ratio))
        inside, start, end = _probed(latent, up, embed, self.reach, self.margin, self.near)
        self.inside = Convolution(*inside, types("inside"), padding=self.reach + self.margin)
        self.start = Linear(*start, types("start"))
        self.end = Linear(*end, types("end"))

    def forward(self, x: Tensor) -> Tensor:
        margin, near, clips = self.margin, self.near, x.shape[0]
        # Of `margin` latents more on each side, so that both ends have some to correct however short the clip is.
        y = self.inside(x)
        first, last = F.pad(x, (0, 0, 0, near))[:, :near], F.pad(x, (0, 0, near, 0))[:, -near:]
        start, end = (
            layer(latents.flatten(1)).reshape(clips, margin, self.ratio * self.channels)
            for layer, latents in ((self.start, first), (self.end, last))
        )
        y = torch.cat((y[:, :margin], y[:, margin : 2 * margin] + start.to(y.dtype), y[:, 2 * margin :]), dim=1)
        y = torch.cat((y[:, : -2 * margin], y[:, -2 * margin : -margin] + end.to(y.dtype)), dim=1)[:, margin:]
        return y.reshape(clips, -1, self.channels)


def _probed(
    latent: WeightNormConv1d, up: WeightNormConv1d, embed: nn.Conv1d, reach: int, margin: int, near: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What the layers give for unit latents: weight and bias inside a clip, and of what differs at either end."""
    layers = [(layer.weight.double(), layer.bias.double()) for layer in (latent, up, embed)]  # type: ignore[union-attr]
    (into, _), (raising, _), (out, _) = layers
    ratio, depth = up.stride, into.shape[1]

    def published(x: Tensor) -> Tensor:
        """The three layers on (B, D, L), as (B, L, ratio x C)."""
        y = F.conv1d(x, into, layers[0][1], padding=into.shape[2] // 2)
        y = F.conv_transpose1d(y, raising, layers[1][1], stride=ratio, padding=(raising.shape[2] - ratio) // 2)
        y = F.conv1d(y, out, layers[2][1], padding=out.shape[2] // 2)
        return y.transpose(1, 2).reshape(len(x), x.shape[2], ratio * out.shape[0])

    # A clip so long that its middle sees neither end.
    middle = reach + margin
    silent = published(torch.zeros(1, depth, 2 * middle + 1, dtype=torch.float64))[0]
    units = torch.zeros(depth, depth, 2 * middle + 1, dtype=torch.float64)
    units[:, :, middle] = torch.eye(depth, dtype=torch.float64)
    response = published(units) - silent
    # Tap j of latent m's frames is latent m - reach + j: seen from it, m is reach - j latents later.
    taps = torch.stack([response[:, middle + reach - tap] for tap in range(2 * reach + 1)])
    inside = taps.permute(2, 1, 0), silent[middle]

    def differing(first: bool) -> tuple[Tensor, Tensor]:
        """What the frames of the ``margin`` latents at an end lack, by the ``near`` latents there."""
        frames = slice(0, margin) if first else slice(2 * middle + 1 - margin, 2 * middle + 1)
        bias = silent[frames] - silent[middle]
        weights = []
        for position in range(near):
            index = position if first else 2 * middle + 1 - near + position
            units = torch.zeros(depth, depth, 2 * middle + 1, dtype=torch.float64)
            units[:, :, index] = torch.eye(depth, dtype=torch.float64)
            seen = (published(units) - silent)[:, frames]
            expected = torch.zeros_like(seen)
            for row, target in enumerate(range(2 * middle + 1)[frames]):
                tap = index - target + reach
                if 0 <= tap <= 2 * reach:
                    expected[:, row] = taps[tap]
            weights.append(seen - expected)
        return torch.stack(weights).flatten(0, 1).flatten(1), bias.flatten()

    return inside, differing(True), differing(False)


class StepwiseFront(nn.Module):
    """The three layers in turn, (B, L, D) to (B, ratio x L, C) or one frame more; each is a plain convolution.

    The transposed one is a convolution over latents to ``ratio`` times the channels, which runtimes multiply faster.
    """

    def __init__(self, latent: WeightNormConv1d, up: WeightNormConv1d, embed: nn.Conv1d, types: Types) -> None:
        """Rewrite the layers; ``types`` is asked for ``hidden``, ``raised`` and ``frames``."""
        super().__init__()
        self.ratio = up.stride
        kernel = up.weight.shape[2]
        extra = (kernel - self.ratio) % 2
        self.surplus = (self.ratio - 1) * extra  # frames of one more latent, all but the first of them too many
        self.hidden = Convolution(latent.weight, latent.bias, types("hidden"), padding=latent.around[0])
        weight, padding = _by_latents(up.weight, self.ratio, up.around[0], extra)
        self.raised = Convolution(weight, up.bias.repeat(self.ratio), types("raised"), padding=padding)
        assert embed.bias is not None
        self.frames = Convolution(embed.weight, embed.bias, types("frames"), padding=embed.weight.shape[2] // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.raised(self.hidden(x))
        y = y.reshape(y.shape[0], -1, y.shape[2] // self.ratio)
        frames: Tensor = self.frames(y[:, : -self.surplus] if self.surplus else y)
        return frames


def _by_latents(weight: Tensor, ratio: int, cut: int, extra: int) -> tuple[Tensor, int]:
    """A transposed convolution as a convolution over latents that gives the frames of each, and its padding.

    Args:
        weight: Of the transposed one, (C in, C out, kernel).
        ratio: Its stride.
        cut: Frames that it drops at each end.
        extra: Latents beyond the last one whose frames are given, too: 0 or 1.

    Returns:
        (ratio x C out, C in, taps): tap ``j`` is the latent ``j - padding`` after the one whose frames these are.
    """
    inputs, outputs, kernel = weight.shape
    padding = max((kernel - 1 - cut) // ratio, (ratio - 1 + cut) // ratio + extra)
    taps = 2 * padding + 1 - extra
    made = weight.new_zeros(ratio, outputs, inputs, taps)
    for frame in range(ratio):
        for tap in range(taps):
            # Frame `frame` of a latent hears the latent `later` after it through this tap of the transposed kernel.
            later = tap - padding
            if 0 <= (index := frame + cut - later * ratio) < kernel:
                made[frame, :, :, tap] = weight[:, :, index].T
    return made.flatten(0, 1), padding
