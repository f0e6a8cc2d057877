"""The decoder's way from latents to frames: three convolutions folded into one product over latents.

Between latent and first normalisation the published decoder has a convolution over latents, a transposed one to frame
rate and one over frames, with nothing between them. Far from the clip's ends that is one linear map, the same for every
latent: from a few latents around it to its ``ratio`` frames. Near an end, what the inner convolutions pad with zeros is
missing; that too is linear in the nearest latents, so the end's frames get a correction of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.deployed.layers import Convolution, Linear
from apcodec_export.model.layers import WeightNormConv1d


class Front(nn.Module):
    """Latents to what the first normalisation takes, (B, L, D) to (B, ratio x L, C)."""

    def __init__(
        self,
        latent: WeightNormConv1d,
        up: WeightNormConv1d,
        embed: nn.Conv1d,
        types: Callable[[str], torch.dtype],
    ) -> None:
        """Fold the three layers.

        Args:
            latent: Over latents, D to any number of channels.
            up: To frames, its kernel less than three times its stride, so that no frame is near both of its ends.
            embed: Over frames, to C channels.
            types: The type of ``inside``, ``start`` and ``end`` by name.
        """
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
    middle = 2 * reach + 2 * margin
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
