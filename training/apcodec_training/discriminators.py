"""The judges: multi-period ones look at the waveform folded by a period, multi-resolution ones at magnitude spectra.

Sources: HiFi-GAN (Kong et al., 2020) and UnivNet (Jang et al., 2021), in the shapes of the published ``models.py``.
Shapes: B clips, N samples.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from apcodec_training.config import DiscriminatorConfig

SLOPE = 0.1
Judgement = list[Tensor]
"""What a discriminator's layers gave, the last of them its scores."""


class _Discriminator(nn.Module):
    """Convolutions over a picture (B, 1, height, width)."""

    def __init__(self, layers: list[nn.Conv2d], last: nn.Conv2d) -> None:
        super().__init__()
        self.convs = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.conv_post = weight_norm(last)

    def judged(self, picture: Tensor) -> Judgement:
        """What the layers make of a picture."""
        x, seen = picture, []
        for layer in self.convs:
            x = F.leaky_relu(layer(x), SLOPE)
            seen.append(x)
        return [*seen, self.conv_post(x)]


class PeriodDiscriminator(_Discriminator):
    """Audio (B, N) folded to (B, 1, N / period, period)."""

    def __init__(self, period: int, channels: int) -> None:
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels, 32 * channels]
        layers = [
            nn.Conv2d(inputs, outputs, (5, 1), (1 if index == 4 else 3, 1), padding=(2, 0))
            for index, (inputs, outputs) in enumerate(itertools.pairwise(widths))
        ]
        super().__init__(layers, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))
        self.period = period

    def picture(self, audio: Tensor) -> Tensor:
        """The folded waveform."""
        rest = -audio.shape[1] % self.period
        audio = F.pad(audio[:, None], (0, rest), "reflect") if rest else audio[:, None]
        return audio.reshape(len(audio), 1, -1, self.period)

    def forward(self, audio: Tensor) -> Judgement:
        return self.judged(self.picture(audio))


class ResolutionDiscriminator(_Discriminator):
    """The magnitude spectrum (B, 1, n_fft / 2 + 1, N / hop + 1) of audio (B, N), under a rectangular window."""

    def __init__(self, resolution: tuple[int, int, int], channels: int) -> None:
        shapes = (((7, 5), (2, 2)), ((5, 3), (2, 1)), ((5, 3), (2, 2)), ((3, 3), (2, 1)), ((3, 3), (2, 2)))
        layers = [
            nn.Conv2d(channels if index else 1, channels, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2))
            for index, (kernel, stride) in enumerate(shapes)
        ]
        super().__init__(layers, nn.Conv2d(channels, 1, 3, padding=1))
        self.n_fft, self.hop, window = resolution
        self.window = nn.Buffer(torch.ones(window), persistent=False)

    def picture(self, audio: Tensor) -> Tensor:
        """The magnitudes."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float(), self.n_fft, self.hop, len(self.window), self.window, center=True, return_complex=True
            )
            return spectrum.abs()[:, None]

    def forward(self, audio: Tensor) -> Judgement:
        return self.judged(self.picture(audio))


class Discriminators(nn.Module):
    """All of them, in two families."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, config.period_channels) for period in config.periods)
        self.resolutions = nn.ModuleList(
            ResolutionDiscriminator(resolution, config.resolution_channels) for resolution in config.resolutions
        )

    def forward(self, audio: Tensor) -> tuple[list[Judgement], list[Judgement]]:
        """Judgements of audio (B, N): by period, by resolution."""
        return [each(audio) for each in self.periods], [each(audio) for each in self.resolutions]
