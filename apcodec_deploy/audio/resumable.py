"""A resampler that can be saved, and gone on with in another process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import Resampler

_REMEMBERED = 4096
"""Samples at the lower of both rates that a saved resampler knows: more than soxr's filter and what it holds back."""
_PROBE_SECONDS, _PROBES_PER_SECOND = 3, 1000


class ResumableResampler:
    """A ``Resampler`` whose state is plain arrays.

    soxr does not show its state. So the last samples that went in are kept, and a restored resampler is given them
    again. It begins where the pattern of both rates begins anew, and so gives the same samples but for rounding
    (3e-7 of full scale); with equal rates there is nothing to restore.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        """Begin a clip; see ``Resampler``."""
        common = gcd(rate_in, rate_out)
        self._inner = Resampler(rate_in, rate_out, channels)
        self._period, self._made_in_period = rate_in // common, rate_out // common
        self._kept = 0 if rate_in == rate_out else -(-_REMEMBERED * rate_in // min(rate_in, rate_out))
        self._taken = self._given = self._surplus = 0
        self._history = self._ready = np.zeros((channels, 0), np.float32)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after one more block (C, n): (C, m), perhaps nothing."""
        made = self._handed_out(self._inner.push(block))
        self._taken += block.shape[1]
        if self._kept:
            history = np.concatenate((self._history, block), axis=1)
            wanted = self._first(self._taken) - (self._taken - history.shape[1])
            self._history = history[:, wanted:].copy()
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest of the clip (C, m)."""
        return self._handed_out(self._inner.finish())

    def save(self) -> dict[str, NDArray[Any]]:
        """What it takes to go on: samples that went in and came out, and the last that went in, (C, n) float32."""
        counts = {"taken": np.array(self._taken), "given": np.array(self._given)}
        return counts | {"history": self._history}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``save`` gave, of a resampler of the same rates and channels."""
        inner = self._inner
        self._inner = Resampler(inner.rate_in, inner.rate_out, inner.channels)
        self._taken, self._given = int(saved["taken"]), int(saved["given"])
        self._history = np.asarray(saved["history"], np.float32)
        self._ready = self._history[:, :0]
        if not self._kept:
            return
        first = self._taken - self._history.shape[1]
        self._surplus = self._given - first // self._period * self._made_in_period
        self._ready = self._without_surplus(self._inner.push(self._history))

    def _first(self, taken: int) -> int:
        """The first sample that is kept: where a period of both rates begins."""
        return max(taken - self._kept, 0) // self._period * self._period

    def _handed_out(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        made = self._without_surplus(made)
        if self._ready.shape[1]:
            made, self._ready = np.concatenate((self._ready, made), axis=1), self._ready[:, :0]
        self._given += made.shape[1]
        return made

    def _without_surplus(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        """What came out already, before it was saved, does not come again."""
        if not self._surplus:
            return made
        cut = min(self._surplus, made.shape[1])
        self._surplus -= cut
        return made[:, cut:]


@cache
def resampling_delay(rate_in: int, rate_out: int) -> float:
    """The longest time, in seconds, by which what comes out of a resampler lags behind what went in.

    soxr computes in blocks of its own: 0.02 to 0.04 s between 16 and 96 kHz, up to 0.18 s at 8 kHz. It is tried.
    """
    if rate_in == rate_out:
        return 0.0
    resampler = Resampler(rate_in, rate_out, 1)
    block = np.zeros((1, max(rate_in // _PROBES_PER_SECOND, 1)), np.float32)
    longest = 0.0
    while resampler.taken < _PROBE_SECONDS * rate_in:
        resampler.push(block)
        longest = max(longest, resampler.taken / rate_in - resampler.given / rate_out)
    return longest + block.shape[1] / rate_in  # between two probes it may have been longer
