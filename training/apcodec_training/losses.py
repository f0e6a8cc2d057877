"""The terms of the generator's loss, by the names of ``LossWeights``.

Source of each: the published ``train.py`` and ``models.py``, whose values the golden case holds.
Shapes: B clips, F bins, T frames, M mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from apcodec_training.loss_weights import LossWeights
from apcodec_training.spectra import LogMel, Spectrum, magnitude


def spectral_losses(
    original: Spectrum, decoded: Spectrum, coded: tuple[Tensor, Tensor], mel: LogMel
) -> dict[str, Tensor]:
    """Everything that compares a decoded clip with its original.

    Args:
        original: Of the original.
        decoded: What the decoder said, before the inverse transform.
        coded: Real and imaginary parts (B, F, T) of the decoded *audio*, which are not those of ``decoded``: no audio
            has every spectrum.
        mel: The mel spectrum.
    """
    original_magnitude, coded_magnitude = magnitude(original.real, original.imag), magnitude(*coded)
    original_mel, coded_mel = mel(original_magnitude), mel(coded_magnitude)
    return {
        "amplitude": F.mse_loss(decoded.logamp, original.logamp),
        **phase_losses(original.phase, decoded.phase),
        "stft_consistency": ((decoded.real - coded[0]) ** 2 + (decoded.imag - coded[1]) ** 2).mean(),
        "real_l1": F.l1_loss(decoded.real, original.real),
        "imag_l1": F.l1_loss(decoded.imag, original.imag),
        "mel_l1": F.l1_loss(coded_mel, original_mel),
        "mel_mse": F.mse_loss(coded_mel, original_mel),
        "audio_amplitude": F.mse_loss(coded_magnitude.log(), original_magnitude.log()),
    }


def phase_losses(original: Tensor, decoded: Tensor) -> dict[str, Tensor]:
    """Mean anti-wrapped errors of the phase (B, F, T), of its steps along frequency and of its steps along time.

    The first bin and the first frame count with their own value in the steps, as in the published code.
    """
    error = decoded - original
    wrapped = anti_wrapped(error)

    def steps(dim: int) -> Tensor:
        return (wrapped.narrow(dim, 0, 1).sum() + anti_wrapped(error.diff(dim=dim)).sum()) / error.numel()

    return {
        "instantaneous_phase": wrapped.mean(),
        "group_delay": steps(1),
        "phase_time_difference": steps(2),
    }


def anti_wrapped(error: Tensor) -> Tensor:
    """The size of an angle's error, in [0, pi], whatever whole turns it contains."""
    turns = torch.round(error.detach() * (0.5 / math.pi))  # which have no gradient
    return torch.sub(error, turns, alpha=2 * math.pi).abs()


def total(losses: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum of some terms."""
    return torch.stack([getattr(weights, name) * loss for name, loss in losses.items()]).sum()
