"""Sample rates: how long a clip is at another one, and the conversion, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError

MIN_RATE = 1_000
MAX_RATE = 768_000
QUALITY = "HQ"


def check_rate(rate: int) -> int:
    """The rate as an int, or an error if it cannot be resampled."""
    if isinstance(rate, bool) or not MIN_RATE <= rate <= MAX_RATE or int(rate) != rate:
        raise AudioError(f"a sample rate of {rate} Hz; whole numbers from {MIN_RATE} to {MAX_RATE} are expected")
    return int(rate)


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Samples of a clip at another rate: rounded half up, at least 1 for a clip that has any."""
    return max(min(samples, 1), (2 * samples * rate_out + rate_in) // (2 * rate_in))


def resample(blocks: Iterable[NDArray[np.float32]], rate_in: int, rate_out: int) -> Iterator[NDArray[np.float32]]:
    """Convert blocks (C, n) of one clip to another rate; all blocks together have ``resampled_length`` samples.

    soxr's stream gives the same samples as one conversion of the whole clip, to the bit, whatever the blocks.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    import soxr  # here, so that the package can be imported without it and `apcodec doctor` can say that it is broken

    stream, given, taken, channels = None, 0, 0, 1
    for block in blocks:
        if stream is None:
            channels = block.shape[0]
            stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=QUALITY)
        taken += block.shape[1]
        out = stream.resample_chunk(np.ascontiguousarray(block.T))
        given += len(out)
        if len(out):
            yield np.ascontiguousarray(out.T)
    if stream is None:
        return
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    missing = resampled_length(taken, rate_in, rate_out) - given
    if missing > 0:
        # Only a clip shorter than one output sample leaves soxr with less than it should give.
        rest = np.pad(rest[:missing], ((0, max(missing - len(rest), 0)), (0, 0)))
        yield np.ascontiguousarray(rest.T)


def exactly(blocks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Trim, or extend with zeros, blocks (C, n) to ``samples`` in all."""
    left, channels = samples, 1
    for block in blocks:
        channels = block.shape[0]
        if left > 0:
            yield block[:, :left]
        left -= block.shape[1]
    if left > 0:
        yield np.zeros((channels, left), np.float32)
