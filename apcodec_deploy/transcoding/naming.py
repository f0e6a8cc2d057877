"""What an output is called. A name follows from the input's name alone, never from what else is there.

to codes         a.flac      -> a.flac.apc
to arrays        a.flac      -> a.flac.npy;  a.flac.apc -> a.flac.npy
from codes       a.flac.apc  -> a.flac (to flac), a.flac.wav (to wav)
audio to audio   a.flac      -> a.flac.wav;  a.wav -> a.wav
"""

from __future__ import annotations

from pathlib import Path

from apcodec_deploy.audio.opening import READABLE
from apcodec_deploy.audio.writer import FORMATS

CODES = "apc"
CODES_SUFFIX = f".{CODES}"
ARRAYS = "npy"
"""Codes as plain arrays, which say nothing of rate and length: the manifest does."""
TARGETS = (*FORMATS, CODES, ARRAYS)
INPUT_SUFFIXES = READABLE | {CODES_SUFFIX}


def is_codes(path: Path) -> bool:
    """Whether a file holds codes, by its name."""
    return path.suffix.lower() == CODES_SUFFIX


def is_input(path: Path) -> bool:
    """Whether a file of a folder is one to convert, by its name."""
    return path.suffix.lower() in INPUT_SUFFIXES


def output_name(name: str, to: str) -> str:
    """The name of a file's result.

    Args:
        name: The input's name, without folders.
        to: One of ``TARGETS``.
    """
    if is_codes(Path(name)):
        if to == CODES:
            return name
        name = name[: -len(CODES_SUFFIX)]
    return name if Path(name).suffix.lower() == f".{to}" else f"{name}.{to}"
