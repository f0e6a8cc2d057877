"""Audio in arrays, as users hand it in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.errors import AudioError

MAX_CHANNELS = (1 << 16) - 1
"""What the header of a .apc file has room for."""
_MANY_CHANNELS = 32
"""An array with more channels than this, and than samples, is (samples, channels) by mistake."""


def checked_clip(audio: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Audio as float32 (C, N), or an error that says what is wrong with it.

    Args:
        audio: Floats of any kind, full scale at 1: (N,) or (C, N).

    Raises:
        AudioError: It has no samples, too many axes, no floats, or samples that no audio has.
    """
    try:
        array = np.asarray(audio)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, or of a type that numpy lacks
        raise AudioError(
            f"{type(audio).__name__} cannot be made a numpy array ({error}); "
            "for a tensor, give tensor.detach().cpu().float().numpy()"
        ) from error
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"audio of type {array.dtype}; floats with full scale at 1 are expected (int16 / 32768)")
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(
            f"audio of shape {list(array.shape)}; (samples,) or (channels, samples) with at least 1 is expected"
        )
    # Half precision cannot hold the limits that samples are held against; more than single is checked as it is.
    clip = np.atleast_2d(array.astype(np.float32) if array.dtype == np.float16 else array)
    if len(clip) > max(clip.shape[1], _MANY_CHANNELS) or len(clip) > MAX_CHANNELS:
        raise AudioError(f"audio of shape {list(array.shape)}; (channels, samples) is expected: transpose it")
    check_samples(clip)
    return clip.astype(np.float32, copy=False)
