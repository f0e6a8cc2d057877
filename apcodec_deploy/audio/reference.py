"""Audio that models and engines are judged by: real signals, and some that are hard for phase, range or statistics."""

from __future__ import annotations

from importlib import resources

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resample

REAL = ("speech", "music", "speech +24 dB")
"""The signals whose codes mean something. What silence and a constant get is a matter of near-ties, so they are judged
by how they sound."""


def reference_signals(sample_rate: int, samples: int) -> dict[str, NDArray[np.float32]]:
    """Signals by name, each (samples,): the shipped clips, repeated as often as needed, and synthetic ones."""
    with (resources.files("apcodec_deploy") / "clips" / "speech_music_48k.flac").open("rb") as file:
        clip, rate = soundfile.read(file, dtype="float32")
    halves = np.split(clip, 2)
    speech, music = (
        np.resize(np.concatenate(list(resample([half[None]], rate, sample_rate)), axis=1)[0], samples)
        for half in halves
    )
    return {
        "speech": speech,
        "music": music,
        "speech +24 dB": (speech * 10 ** (24 / 20)).astype(np.float32),
        "silence": np.zeros(samples, np.float32),
        "constant": np.full(samples, 0.5, np.float32),
    }
