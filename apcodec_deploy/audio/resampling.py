"""Sample rates: how long a clip is at another one, and the conversion, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError

MIN_RATE = 1_000
MAX_RATE = 768_000
QUALITY = "HQ"


def check_rate(rate: int) -> int:
    """The rate as an int, or an error if it cannot be resampled."""
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not number or not MIN_RATE <= rate <= MAX_RATE or int(rate) != rate:
        found = rate if number else repr(rate)
        raise AudioError(f"a sample rate of {found} Hz; whole numbers from {MIN_RATE} to {MAX_RATE} are expected")
    return int(rate)


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Samples of a clip at another rate: rounded half up, at least 1 for a clip that has any."""
    return max(min(samples, 1), (2 * samples * rate_out + rate_in) // (2 * rate_in))


class Resampler:
    """Converts one clip (C, n) to another rate, block by block; all it gives has ``resampled_length`` samples.

    soxr's stream gives the same samples as one conversion of the whole clip, to the bit, whatever the blocks. It holds
    back what it cannot compute yet, up to ``resampling_delay`` seconds.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Begin a clip.

        Args:
            rate_in: Hz of what comes.
            rate_out: Hz of what is wanted; the same rate changes nothing.
            channels: C.
        """
        self.rate_in, self.rate_out, self.channels = rate_in, rate_out, channels
        self.taken = self.given = 0
        self._stream: Any = None
        if rate_in != rate_out:
            import soxr  # here, so that the package can be imported without it and `apcodec doctor` can say so

            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=QUALITY)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after one more block (C, n): (C, m), perhaps nothing."""
        self.taken += block.shape[1]
        made = block if self._stream is None else self._converted(block)
        self.given += made.shape[1]
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest of the clip (C, m)."""
        missing = resampled_length(self.taken, self.rate_in, self.rate_out) - self.given
        if self._stream is None or missing <= 0:
            return np.zeros((self.channels, 0), np.float32)
        rest = self._converted(np.zeros((self.channels, 0), np.float32), last=True)[:, :missing]
        self.given += missing
        # Only a clip shorter than one output sample leaves soxr with less than it should give.
        return np.pad(rest, ((0, 0), (0, missing - rest.shape[1])))

    def _converted(self, block: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T)


def resample(blocks: Iterable[NDArray[np.float32]], rate_in: int, rate_out: int) -> Iterator[NDArray[np.float32]]:
    """Convert blocks (C, n) of one clip to another rate; all blocks together have ``resampled_length`` samples."""
    resampler = None
    for block in blocks:
        resampler = resampler or Resampler(rate_in, rate_out, block.shape[0])
        if (made := resampler.push(block)).shape[1]:
            yield made
    if resampler is not None and (rest := resampler.finish()).shape[1]:
        yield rest


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
