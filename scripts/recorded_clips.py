"""Files of recordings to clips to train on: which are of use, what is cut off, how short ones are joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import soxr
from numpy.typing import NDArray
from recorded_sources import Kind

RATE = 48_000
CD_RATE = 44_100
LONGEST = 20.0
"""Seconds of a clip."""
SHORTEST = 2.0
"""Seconds of a clip; what a voice has left over beyond its last full clip may be as short as this."""
FADE = 0.005
PAUSE = 0.5
"""Seconds that are left of silence at the ends of a file."""
SILENCE = 10 ** (-55 / 20)
"""Against the peak of a file."""
QUIETEST_PEAK = 10 ** (-46 / 20)
CLIPPED_SHARE = 5e-3
LEAST_BANDWIDTH: dict[Kind, float] = {"speech": 12_000, "narrow_speech": 7_000, "music": 12_000, "effects": 12_000}
Audio = NDArray[np.float64]


def bandwidth(audio: Audio, rate: int) -> float:
    """Hz below which everything within 80 dB of the strongest lies, in the mean spectrum."""
    size = 2048
    padded = np.pad(audio, (0, max(0, size - len(audio))))
    starts = np.unique(np.linspace(0, len(padded) - size, min(200, len(padded) // 1024 + 1)).astype(int))
    window = np.hanning(size)
    power = np.mean([np.abs(np.fft.rfft(padded[start : start + size] * window)) ** 2 for start in starts], axis=0)
    width = max(1, 300 * size // rate)
    smooth = np.convolve(power + 1e-20, np.ones(width) / width, "same")
    return float(np.nonzero(smooth > smooth.max() * 1e-8)[0][-1] * rate / size)


def fault(audio: Audio, rate: int, kind: Kind) -> str | None:
    """Why a file is left out."""
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < QUIETEST_PEAK:
        return "silent"
    if len(audio) < 0.15 * rate:
        return "short"
    if np.mean(np.abs(audio) >= min(peak, 0.999)) > CLIPPED_SHARE and peak > 0.9:
        return "clipped"
    return "narrow" if bandwidth(audio, rate) < LEAST_BANDWIDTH[kind] else None


def trimmed(audio: Audio, rate: int) -> Audio:
    """Audio with at most half a second of silence at its ends, which are faded."""
    loud = np.nonzero(np.abs(audio) > SILENCE * np.abs(audio).max())[0]
    pause = int(PAUSE * rate)
    kept = audio[max(0, loud[0] - pause) : loud[-1] + pause].copy()
    fade = np.linspace(0, 1, min(int(FADE * rate), len(kept) // 2))
    kept[: len(fade)] *= fade
    kept[len(kept) - len(fade) :] *= fade[::-1]
    return kept


def clips(parts: Sequence[tuple[Audio, int]], raised: float, random: np.random.Generator) -> Iterator[Audio]:
    """Pieces joined in an order drawn at random, into clips of up to 20 s.

    A piece longer than that is cut. Pieces of one clip have one speed: of a clip all whose pieces are at 44.1 kHz a
    share ``raised`` is played as if it were at 48 kHz.
    """
    held: list[tuple[Audio, int]] = []
    for index in random.permutation(len(parts)):
        audio, rate = parts[index]
        for begin in range(0, len(audio), int(LONGEST * rate)):
            piece = audio[begin : begin + int(LONGEST * rate)]
            if held and _seconds(held) + len(piece) / rate > LONGEST:
                yield joined(held, raised, random)
                held = []
            held.append((piece, rate))
    if held and _seconds(held) >= SHORTEST:
        yield joined(held, raised, random)


def _seconds(held: Sequence[tuple[Audio, int]]) -> float:
    return sum(len(audio) / rate for audio, rate in held)


def joined(held: Sequence[tuple[Audio, int]], raised: float, random: np.random.Generator) -> Audio:
    """Pieces one after the other at 48 kHz, their peak somewhere from -12 to -1 dB."""
    as_it_is = random.random() < raised and all(rate == CD_RATE for _, rate in held)
    audio = np.concatenate(
        [audio if as_it_is or rate == RATE else soxr.resample(audio, rate, RATE, quality="HQ") for audio, rate in held]
    )
    return np.asarray(audio / np.abs(audio).max() * 10 ** (random.uniform(-12, -1) / 20))
