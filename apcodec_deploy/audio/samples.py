"""What a sample may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError

MAX_PEAK = 100.0
"""40 dB above full scale: louder than any audio, and quieter than all but the quietest at the scale of integers."""
_INTEGERS = ((16, 1 << 15), (24, 1 << 23), (32, 1 << 31))
"""Bits of the integers that audio comes in, and where their full scale is."""
# fmt: off
SAMPLE_BYTES = {
    "PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "ULAW": 1, "ALAW": 1, "FLOAT": 4, "DOUBLE": 8,
}
# fmt: on
"""Bytes of a sample, by libsndfile's names of how it can be stored as it is."""


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
    first = f"sample {start + sample} of channel {channel} is {audio[channel, sample]:g}"
    peak = np.abs(audio).max()
    for bits, scale in _INTEGERS:
        if peak <= scale:
            raise AudioError(
                f"{first}, and the largest {peak:g}, as in audio at the scale of {bits}-bit integers; full scale is 1 "
                f"here, at most {MAX_PEAK:g}: divide by {scale}"
            )
    raise AudioError(
        f"{first}, the first of {int((~good).sum())} such; every sample must be a number of at most {MAX_PEAK:g}, with "
        "full scale at 1"
    )
