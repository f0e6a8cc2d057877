"""What a sample may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError

MAX_PEAK = 1e6
"""120 dB above full scale. Far beyond it, spectra overflow and every code would be 0 without a word."""


def check_samples(audio: NDArray[np.floating[Any]], start: int = 0) -> None:
    """Refuse samples that no audio has.

    Args:
        audio: (C, n).
        start: Samples before these, for the message.

    Raises:
        AudioError: A sample is NaN, infinite or absurdly large; the first one is named.
    """
    good = np.abs(audio) <= MAX_PEAK  # false for NaN, too
    if good.all():
        return
    channel, sample = np.argwhere(~good)[0]
    raise AudioError(
        f"sample {start + sample} of channel {channel} is {audio[channel, sample]}, the first of {int((~good).sum())} "
        f"such; every sample must be a number of at most {MAX_PEAK:g}, with full scale at 1"
    )
