"""Audio from a pipe is there as soon as its bytes are: the writer waits until the reader has had every one of them."""

from __future__ import annotations

import io
import os
import queue
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.errors import AudioError

ARECORD, FFMPEG, SOX = 0x7FFFFF00, 0xFFFFFFFF, 0x7FFFF000
"""What these programs write for a length that they do not know."""


def head(declared: int, *, rate: int = 48_000, channels: int = 1, bits: int = 16) -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return (
        b"RIFF"
        + struct.pack("<I", min(declared + 36, FFMPEG))
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", declared)
    )


class Pipe:
    """A pipe whose audio is read in a thread."""

    def __init__(self) -> None:
        source, self._target = os.pipe()
        self.blocks: queue.Queue[NDArray[np.float32] | Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._thread.start()

    def _read(self, source: int) -> None:
        try:
            for block in AudioReader.of_stream(source, "a pipe").arriving():
                self.blocks.put(block)
            self.blocks.put(None)
        except Exception as error:
            self.blocks.put(error)
        finally:
            os.close(source)

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._target, data) :]

    def take(self, samples: int) -> NDArray[np.float32]:
        """As many samples; it fails where they do not come."""
        found: list[NDArray[np.float32]] = []
        while sum(block.shape[1] for block in found) < samples:
            block = self.blocks.get(timeout=10)
            assert isinstance(block, np.ndarray), block
            found.append(block)
        joined = np.concatenate(found, axis=1)
        assert joined.shape[1] == samples
        return joined

    def end(self) -> object:
        """What follows the last block."""
        os.close(self._target)
        self._target = -1
        rest = self.blocks.get(timeout=10)
        self._thread.join(10)
        return rest

    def close(self) -> None:
        if self._target >= 0:
            os.close(self._target)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "declared", [ARECORD, FFMPEG, SOX, 0, 4 * 20 * 320], ids=["arecord", "ffmpeg", "sox", "0", "exact"]
)
def test_each_block_comes_before_the_next_is_written(pipe: Pipe, declared: int) -> None:
    noise = np.random.default_rng(declared).integers(-9000, 9000, (20, 320, 2)).astype("<i2")
    pipe.write(head(declared, channels=2))
    for block in noise:
        pipe.write(block.tobytes())
        assert np.array_equal(pipe.take(320) * 32768, block.T)
    assert pipe.end() is None


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12),
    form=st.sampled_from([(1, 8), (2, 16), (3, 24), (1, 32)]),
)
def test_a_sample_comes_with_its_last_byte(sizes: list[int], form: tuple[int, int]) -> None:
    """However bytes are cut, no whole sample is waited for, and no half one is given."""
    channels, bits = form
    frame = channels * bits // 8
    data = np.random.default_rng(len(sizes)).bytes(sum(sizes))
    whole = data[: len(data) // frame * frame]
    pipe, sent, given = Pipe(), 0, []
    try:
        pipe.write(head(FFMPEG, channels=channels, bits=bits))
        for size in sizes:
            pipe.write(data[sent : sent + size])
            due = (sent + size) // frame - sent // frame
            given.append(pipe.take(due) if due else np.zeros((channels, 0), np.float32))
            sent += size
        rest = pipe.end()
    finally:
        pipe.close()
    if not whole:
        assert isinstance(rest, AudioError) and "no samples" in str(rest)
        return
    file = io.BytesIO(head(len(whole), channels=channels, bits=bits) + whole)
    expected, _ = soundfile.read(file, dtype="float32", always_2d=True)
    assert rest is None and np.array_equal(np.concatenate(given, axis=1), expected.T)


@pytest.mark.parametrize("samples", [1, 500, 20_000, 70_000])
@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "aiff", "au", "caf"])
def test_other_kinds_come_whole(kind: str, samples: int, tmp_path: Path) -> None:
    """Also those that are so short that all of them is there when they are opened."""
    file = tmp_path / f"a.{kind}"
    soundfile.write(file, np.random.default_rng(0).normal(size=samples) / 8, 48_000)
    with AudioReader(file) as reader:
        expected = np.concatenate(list(reader.blocks()), axis=1)
    with file.open("rb") as source:
        piped = AudioReader.of_stream(source.fileno(), "a pipe")
        assert np.array_equal(np.concatenate(list(piped.arriving()), axis=1), expected)
        piped.close()


def test_a_file_has_come_already(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100_000), 48_000)
    with AudioReader(tmp_path / "a.wav") as reader:
        assert [block.shape[1] for block in reader.arriving()] == [48_000, 48_000, 4_000]


def test_a_bad_sample_is_named(pipe: Pipe) -> None:
    form = struct.pack("<IHHIIHH", 16, 3, 1, 48_000, 192_000, 4, 32)
    pipe.write(b"RIFF\xff\xff\xff\xffWAVEfmt " + form + b"data\xff\xff\xff\xff" + struct.pack("<3f", 0.5, 0.25, np.inf))
    error = pipe.blocks.get(timeout=10)
    while isinstance(error, np.ndarray):
        error = pipe.blocks.get(timeout=10)
    assert isinstance(error, AudioError) and str(error).startswith("a pipe: sample 2 of channel 0 is inf")
