"""The window sweep: what the length of a model's windows costs in quality and in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.resampling import resample

WHOLE = "whole"
LENGTHS = (1 / 6, 1 / 3, 2 / 3, 4 / 3, 8 / 3, 16 / 3, 10.0, 20.0)
"""Seconds. Training saw a sixth of one; the model's default is among them."""
_FACTORY = "apcodec_benchmarks.contenders.apcodec:apcodec"


def window_entries(lengths: Sequence[float] = LENGTHS) -> list[Entry]:
    """One contender for each length of the windows and, for the others to be compared with, one for whole clips."""
    whole = Entry(name=WHOLE, factory=_FACTORY, options={"window": WHOLE})
    return [
        *(Entry(name=f"{seconds:.2f} s", factory=_FACTORY, options={"window": seconds}) for seconds in lengths),
        whole,
    ]


def joined(files: Iterable[Path], target: Path, *, seconds: float, sample_rate: int) -> None:
    """Write all clips one after the other, again and again, as one file (mono, float32, WAV) of so many seconds.

    Real clips are seldom longer than the longer windows, and a window that holds a whole clip tells nothing.
    """
    parts: list[NDArray[np.float32]] = []
    for file in files:
        with AudioReader(file) as reader:
            mono = (block.mean(axis=0, keepdims=True, dtype=np.float32) for block in reader.blocks())
            parts += [block[0] for block in resample(mono, reader.sample_rate, sample_rate)]
    audio = np.resize(np.concatenate(parts), round(seconds * sample_rate))
    soundfile.write(target, audio, sample_rate, subtype="FLOAT")
