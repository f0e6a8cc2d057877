"""A clip in the containers that soundfile writes, and readers of files and pipes, for tests of what files hold."""

from __future__ import annotations

import functools
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span

Audio = NDArray[np.float32]
Read = Callable[[Path], Audio]
RATE = 48_000
LENGTH = 60_000
"""Samples of the clip: a second and a quarter."""
ID3 = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
ID3V1 = b"TAG" + b"a title".ljust(125)


def from_path(path: Path, span: Span | None = None) -> Audio:
    """A file, or a part of it."""
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(span)), axis=1)


def from_pipe(path: Path) -> Audio:
    """The same bytes through a pipe."""
    read, write = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(write, "wb", buffering=0) as pipe:
            pipe.write(path.read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with AudioReader.of_stream(read, path.name) as reader:
            return np.concatenate(list(reader.blocks()), axis=1)
    finally:
        os.close(read)
        feeder.join()


both_ways = pytest.mark.parametrize("read", [from_path, from_pipe])


@functools.cache
def clip() -> Audio:
    """A tone that rises, louder and quieter by turns, in a little noise, on the grid of 16 bits: (1, LENGTH)."""
    time = np.arange(LENGTH) / RATE
    tone = np.sin(2 * np.pi * (100 + 1000 * time) * time) * (0.2 + 0.15 * np.sin(6 * time))
    noisy = tone + np.random.default_rng(0).normal(0, 0.003, LENGTH)
    audio = (np.rint(noisy * 32768) / 32768).astype(np.float32)[None]
    audio.flags.writeable = False
    return audio


@functools.cache
def encoded(form: str, subtype: str, *, rate: int = RATE, channels: int = 1) -> bytes:
    """The clip as a file, the same in every channel."""
    file = io.BytesIO()
    soundfile.write(file, np.repeat(clip(), channels, axis=0).T, rate, format=form, subtype=subtype)
    return file.getvalue()


def assert_sounds_like(read: Audio, audio: Audio, *, late: int = 0) -> None:
    """A lossy copy of it, which begins so many samples late."""
    assert np.corrcoef(read[0, late:][: LENGTH - 2000], audio[0, : LENGTH - 2000])[0, 1] > 0.95
