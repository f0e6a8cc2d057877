"""How far log spectra of a long window are apart, as a loss.

The published spectral losses look through windows of 6.7 ms. Through those, a buzz that repeats with every latent, 150
times a second, looks like the noise that it stands for: its lines are 150 Hz apart. A window of 43 ms sees them. These
figures are for 48 kHz. The window has as many samples at any rate, as that of the metric has.

Source: LSD, the log-spectral distance that APCodec's authors report (``cal_metrics.py`` of AP-BWE). ``apcodec bench
quality`` has it as a metric.

Shapes: B clips, N samples, F bins, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apcodec_benchmarks.metrics.spectral import HOP, POWER_FLOOR, WINDOW

LEAST_SAMPLES = WINDOW // 2 + 1
"""Of the shortest clip whose ends can be reflected."""
_LEAST = 1e-6
"""Added to the mean square, so that the root's gradient stays finite."""


class LogSpectralDistance(nn.Module):
    """Root mean square over bins, then mean over frames and clips, of the difference of log10 power spectra.

    Attributes:
        least_samples: ``LEAST_SAMPLES``.
    """

    least_samples = LEAST_SAMPLES

    def __init__(self) -> None:
        super().__init__()
        self.window = nn.Buffer(torch.hann_window(WINDOW), persistent=False)

    def forward(self, original: Tensor, decoded: Tensor) -> Tensor:
        """Compare clips.

        Args:
            original: (B, N), at least ``least_samples`` long.
            decoded: (B, N).

        Returns:
            A scalar in decades of power: 1 is 10 dB.
        """
        difference = self._spectrum(decoded) - self._spectrum(original)
        return (difference.square().mean(dim=1) + _LEAST).sqrt().mean()

    def _spectrum(self, audio: Tensor) -> Tensor:
        """Log10 power of audio (B, N), (B, F, T)."""
        spectrum = torch.stft(audio, WINDOW, HOP, window=self.window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square()).clamp(min=POWER_FLOOR).log10()
