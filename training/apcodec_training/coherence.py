"""How well the decoded waveform follows the original, as a loss.

The phase terms of the published loss weigh all bins alike. In most of them sound is noise, whose phase a few kbit/s
cannot carry. This loss looks at bands below 3.2 kHz alone. It is the correlation of the two waveforms, windowed and
band-passed.

Source: the real part of the coherence function (Carter, Knapp and Nuttall, IEEE Trans. Audio Electroacoust. 1973), with
the mean over the bins of a band instead of over frames, so that a wrong phase counts. The bands are ours.

Shapes: B clips, N samples, F bins, T frames, K bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FRAME_SECONDS = 1024 / 48_000
"""Frames overlap by three quarters."""
EDGES_HZ = (50, 200, 400, 600, 800, 1000, 1300, 1600, 2000, 2500, 3200)
_SILENCE = 1e-4
"""Power of a band or a frame that counts, as a share of the clip's greatest: 40 dB below it."""
_SILENT = 1e-4
"""Power of a frame that is silent in any clip. At 48 kHz a sine of -90 dBFS has it."""
_FAINT = 1e-3
"""Share of a band's amplitude under which the decoded one counts less, so that gradients are finite: 60 dB below it."""
_LEAST = 1e-12
"""Added to a product of two powers."""


def frame_samples(sample_rate: int) -> int:
    """Samples of a frame, and of its transform."""
    return 4 * round(FRAME_SECONDS * sample_rate / 4)


class Incoherence(nn.Module):
    """One minus the mean correlation of two clips' waveforms, over frames and bands.

    Attributes:
        least_samples: Samples of the shortest clip that has a frame.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.least_samples = self.frame = frame_samples(sample_rate)
        self.window = nn.Buffer(torch.hann_window(self.frame), persistent=False)
        self.bands = nn.Buffer(bands(sample_rate), persistent=False)

    def forward(self, original: Tensor, decoded: Tensor) -> Tensor:
        """Compare clips.

        Args:
            original: (B, N), at least ``least_samples`` long.
            decoded: (B, N).

        Returns:
            A scalar: 0 for the same waveform, even 40 dB below the original; about 1 for unrelated ones; 2 for one
            that is upside down; 0 where all originals are silent. Each of several processes has that of its own clips.
        """
        (real, imag), (other_real, other_imag) = self._spectrum(original), self._spectrum(decoded)
        cross = self.bands @ (real * other_real + imag * other_imag)
        power = self.bands @ (real.square() + imag.square())
        other_power = self.bands @ (other_real.square() + other_imag.square())
        frames = power.sum(dim=1, keepdim=True)
        heard = frames > frames.amax(dim=2, keepdim=True) * _SILENCE + _SILENT
        counts = (heard & (power > power.amax(dim=(1, 2), keepdim=True) * _SILENCE)).float()
        correlations = cross / (power * other_power + (_FAINT * power).square() + _LEAST).sqrt()
        return 1 - ((correlations * counts).sum() + 1e-9) / (counts.sum() + 1e-9)

    def _spectrum(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts of audio (B, N), each (B, F, T)."""
        spectrum = torch.stft(
            audio, self.frame, hop_length=self.frame // 4, window=self.window, center=False, return_complex=True
        )
        return spectrum.real, spectrum.imag


def bands(sample_rate: int) -> Tensor:
    """Which bins belong to which band, (K, F) of zeros and ones."""
    frame = frame_samples(sample_rate)
    frequencies = torch.arange(frame // 2 + 1) * sample_rate  # in 1 / frame Hz, where they are whole numbers
    edges = torch.tensor(EDGES_HZ)[:, None] * frame
    return ((frequencies >= edges[:-1]) & (frequencies < edges[1:])).float()
