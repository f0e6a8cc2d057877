"""Clips on disk, and what a job made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.transcoding.conversion import ConversionOptions

Audio = NDArray[np.float32]
WAV = ConversionOptions(form=AudioFormat.of("wav"))
CODES = ConversionOptions(form=None)


def wav(path: Path, audio: Audio, rate: int = 48_000, subtype: str = "PCM_16") -> Path:
    """Write a clip, (N,) or (N, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
