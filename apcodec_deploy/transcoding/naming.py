"""What an output is called, and how a name is written down.

A name follows from the input's name alone, never from what else is there:

to codes         a.flac      -> a.flac.apc
to arrays        a.flac      -> a.flac.npy;  a.flac.apc -> a.flac.npy
from codes       a.flac.apc  -> a.flac (to flac), a.flac.wav (to wav)
audio to audio   a.flac      -> a.flac.wav;  a.wav -> a.wav

A name is bytes, and how Python shows them depends on the locale. What is written down for others, a manifest or a
shard, has to mean the same file under every locale: there a name is its bytes read as UTF-8.
"""

from __future__ import annotations

import os
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


def as_text(name: str) -> str:
    """A name as it is written down: its bytes as UTF-8, those that are none as Python's surrogate escapes."""
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file can have that name here, so it is text already
        return name


def as_name(text: str) -> str:
    """The name that ``as_text`` wrote down, as this process names files.

    Raises:
        ValueError: No file can have that name here.
    """
    if "\0" in text:
        raise ValueError(f"{text!r} holds a zero byte, which no name does")
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))
