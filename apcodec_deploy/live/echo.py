"""A stream through a codec and out again at once, with the figures that tell how it goes."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.live.decoder import DecoderSession
from apcodec_deploy.live.encoder import EncoderSession

_REMEMBERED = 2000
"""Pushes whose times are kept: what a quantile of 99 % wants."""
SILENT_DB = -90.0


@dataclass(slots=True)
class Figures:
    """How a live stream goes.

    Attributes:
        block_seconds: What is pushed at a time.
        algorithm_seconds: From a sound to its echo, but for computing, and for the wait until a block is there.
        level_in: Of the last block, dB below full scale (root mean square).
        level_out: Of what came out.
        computed: Seconds that the last pushes took.
        blocks: Pushes so far.
    """

    block_seconds: float
    algorithm_seconds: float
    level_in: float = SILENT_DB
    level_out: float = SILENT_DB
    computed: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    blocks: int = 0

    @property
    def median(self) -> float:
        """Seconds that a push takes."""
        return float(np.median(self.computed)) if self.computed else 0.0

    @property
    def slow(self) -> float:
        """Seconds that one push in a hundred exceeds."""
        return float(np.quantile(self.computed, 0.99)) if self.computed else 0.0

    @property
    def latency_seconds(self) -> float:
        """From a sound to its echo, without the sound card."""
        return self.algorithm_seconds + self.median


class Echo:
    """An encoder and the decoder of its codes.

    Attributes:
        figures: How it goes.
    """

    def __init__(self, encoder: EncoderSession, decoder: DecoderSession, tokens: int) -> None:
        """Join them.

        Args:
            encoder: A new session.
            decoder: Another, of the same channels.
            tokens: How many are to be pushed at a time.
        """
        self.encoder, self.decoder = encoder, decoder
        spec = encoder.model.spec
        token = spec.samples_per_latent / spec.sample_rate
        self.block_samples = round(tokens * token * encoder.sample_rate)
        waited = encoder.latency_seconds + decoder.latency_seconds + (tokens - 1) * token
        self.figures = Figures(block_seconds=tokens * token, algorithm_seconds=waited)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What comes out after one more block (C, n): (C, m)."""
        begun = time.perf_counter()
        audio = self.decoder.push(self.encoder.push(block))
        figures = self.figures
        figures.computed.append(time.perf_counter() - begun)
        figures.level_in, figures.blocks = level(block), figures.blocks + 1
        if audio.shape[1]:
            figures.level_out = level(audio)
        return audio

    def flush(self) -> NDArray[np.float32]:
        """The rest of the stream (C, m)."""
        return self.decoder.flush(self.encoder.flush())


def level(audio: NDArray[np.float32]) -> float:
    """Decibels below full scale (root mean square), at least ``SILENT_DB``."""
    power = float(np.mean(np.square(audio, dtype=np.float64))) if audio.size else 0.0
    return max(10 * math.log10(power), SILENT_DB) if power > 0 else SILENT_DB
