"""What the losses compare: spectra and log-mel spectra.

Shapes: B clips, N samples, F = n_fft / 2 + 1 bins, T frames, M mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from apcodec_export.model.transforms import LOG_FLOOR
from apcodec_export.network import NetworkConfig

MEL_BANDS = 80
MAGNITUDE_FLOOR = 1e-9
"""Added to the power under the root (published code), which also keeps the root's gradient finite."""
MEL_FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A spectrum in the two ways that the model sees it, each (B, F, T)."""

    logamp: Tensor
    phase: Tensor
    real: Tensor
    imag: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, real: Tensor, imag: Tensor) -> Spectrum:
        """Log-amplitude ``ln(|X| + 1e-5)`` and phase of real and imaginary parts; without gradients."""
        # Plus zero: -0 becomes +0, so that the phase is +pi on the cut and 0 in silence, as in the exported graph.
        return cls(torch.hypot(real, imag).add(LOG_FLOOR).log(), torch.atan2(imag + 0.0, real + 0.0), real, imag)


def magnitude(real: Tensor, imag: Tensor) -> Tensor:
    """The magnitude of real and imaginary parts, at least ``sqrt(1e-9)``."""
    return (real * real + imag * imag + MAGNITUDE_FLOOR).sqrt()


class LogMel(nn.Module):
    """Magnitudes (B, F, T) to ``ln max(mel magnitudes, 1e-5)`` (B, M, T): 80 Slaney bands to Nyquist."""

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        bands = mel_filter_bank(
            num_frequency_bins=network.bins,
            num_mel_filters=MEL_BANDS,
            min_frequency=0.0,
            max_frequency=network.sample_rate / 2,
            sampling_rate=network.sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.bands = nn.Buffer(torch.from_numpy(bands.T).float().contiguous(), persistent=False)

    def forward(self, magnitudes: Tensor) -> Tensor:
        return (self.bands @ magnitudes).clamp(min=MEL_FLOOR).log()
