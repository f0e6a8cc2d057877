"""How well decoded speech can be understood, as a loss: one minus the measure STOI.

Source: Taal et al., An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech, TASLP 2011.
The measure correlates the envelopes of third-octave bands over 384 ms. Here it is computed at the model's rate instead
of at 10 kHz, and spans of silence are left out instead of frames.

Shapes: B clips, N samples, F bins, T frames, K bands, S spans.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

FRAME_SECONDS = 0.0256
SPAN_FRAMES = 30
BANDS = 15
LOWEST_HZ = 150.0
"""Middle of the lowest band; the middle of the highest is 3.8 kHz."""
LEAST_SDR_DB = -15.0
"""Where a band is louder than the original's by so much more, its envelope is cut."""
_SILENCE_DB = -40.0
"""Of a span, below the loudest span of its clip."""
_SILENT = 1e-6
"""Energy of a span's envelopes below which it is silent in any clip."""
_EVEN = 1e-3
"""Share of an envelope's own length below which its ups and downs count less, so that gradients stay finite."""


def frame_samples(sample_rate: int) -> int:
    """Samples of a frame; frames overlap by half."""
    return 2 * round(FRAME_SECONDS * sample_rate / 2)


def transform_samples(sample_rate: int) -> int:
    """Samples of the transform, in whose middle a frame stands."""
    return 1 << (frame_samples(sample_rate) - 1).bit_length()


def least_samples(sample_rate: int) -> int:
    """Samples of the shortest clip that has a span."""
    return transform_samples(sample_rate) + (SPAN_FRAMES - 1) * (frame_samples(sample_rate) // 2)


class Unintelligibility(nn.Module):
    """One minus the mean correlation of the band envelopes of two clips."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.frame = frame_samples(sample_rate)
        self.least_samples = least_samples(sample_rate)
        self.n_fft = transform_samples(sample_rate)
        self.window = nn.Buffer(torch.hann_window(self.frame), persistent=False)
        self.bands = nn.Buffer(torch.from_numpy(third_octaves(sample_rate, self.n_fft)), persistent=False)

    def forward(self, original: Tensor, decoded: Tensor) -> Tensor:
        """Compare clips.

        Args:
            original: (B, N), at least ``least_samples`` long.
            decoded: (B, N).

        Returns:
            A scalar: 0 for the same envelopes, about 1 for unrelated ones, 0 where all originals are silent.
        """
        true, found = self._spans(original), self._spans(decoded)
        energy = true.square().sum(dim=(1, 3))
        loudest = energy.amax(dim=1, keepdim=True)
        counts = (energy > (loudest * 10 ** (_SILENCE_DB / 10)).clamp(min=_SILENT)).float()
        length = torch.linalg.vector_norm(true, dim=3, keepdim=True)
        level = length / (torch.linalg.vector_norm(found, dim=3, keepdim=True) + 1e-9)
        cut = torch.minimum(found * level, true * (1 + 10 ** (-LEAST_SDR_DB / 20)))
        correlations = (_centred(true, length) * _centred(cut, length)).sum(dim=3).mean(dim=1)
        return 1 - ((correlations * counts).sum() + 1e-9) / (counts.sum() + 1e-9)

    def _spans(self, audio: Tensor) -> Tensor:
        """Envelopes of the bands by span, (B, K, S, SPAN_FRAMES)."""
        spectrum = torch.stft(
            audio,
            self.n_fft,
            hop_length=self.frame // 2,
            win_length=self.frame,
            window=self.window,
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (self.bands @ power + 1e-12).sqrt().unfold(2, SPAN_FRAMES, 1)


def _centred(spans: Tensor, length: Tensor) -> Tensor:
    """Spans without their mean, of length 1 where they move at all."""
    centred = spans - spans.mean(dim=3, keepdim=True)
    own = (centred.square().sum(dim=3, keepdim=True) + (_EVEN * length).square() + 1e-12).sqrt()
    return centred / own


def third_octaves(sample_rate: int, n_fft: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Which bins belong to which band, (K, F) of zeros and ones."""
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    middles = LOWEST_HZ * 2.0 ** (np.arange(BANDS)[:, None] / 3)
    inside = (frequencies >= middles * 2 ** (-1 / 6)) & (frequencies < middles * 2 ** (1 / 6))
    return inside.astype(np.float32)
