"""WAV of 24 bits in 4 bytes a sample, which two sorts of programs fill in two ways under the same header."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from field_clips import LENGTH, RATE, Audio, Read, both_ways, clip

from apcodec_deploy.errors import AudioError


def written(audio: Audio, shift: int, order: str = "<", *, declared: int | None = None) -> bytes:
    """A WAV whose samples have their 24 bits so many bits up in 4 bytes; ALSA's arecord writes them with 0."""
    channels = len(audio)
    data = (np.rint(audio.T * (1 << 23)).astype(np.int64) << shift).astype(f"{order}i4").tobytes()
    form = struct.pack(f"{order}IHHIIHH", 16, 1, channels, RATE, 4 * channels * RATE, 4 * channels, 24)
    size = len(data) if declared is None else declared
    sizes = [struct.pack(f"{order}I", each) for each in ((36 + size) & 0xFFFFFFFF, size)]
    return (b"RIFF" if order == "<" else b"RIFX") + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + data


@both_ways
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("declared", [None, 0xFFFFFFFF])
@pytest.mark.parametrize("channels", [1, 2])
def test_left_aligned_samples_are_read(
    tmp_path: Path, read: Read, order: str, declared: int | None, channels: int
) -> None:
    path, audio = tmp_path / "a.wav", np.repeat(clip(), channels, axis=0)
    path.write_bytes(written(audio, 8, order, declared=declared))
    np.testing.assert_array_equal(read(path), audio)


@both_ways
@pytest.mark.parametrize("gain", [1.0, 1e-4, 0.0])
@pytest.mark.parametrize("order", "<>")
def test_those_of_arecord_and_those_that_do_not_tell_are_refused(
    tmp_path: Path, read: Read, gain: float, order: str
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(written(clip() * np.float32(gain), 0, order))
    with pytest.raises(AudioError, match=r"24 bits in 4 bytes each.*arecord -f S32_LE"):
        read(path)


@both_ways
def test_plain_24_bits_are_read_whatever_follows_a_sample(tmp_path: Path, read: Read) -> None:
    """Four channels of 3 bytes are no 24 bits in 4 bytes, nor are 32 bits."""
    path = tmp_path / "a.wav"
    for subtype in ("PCM_24", "PCM_32"):
        soundfile.write(path, np.repeat(clip(), 4, axis=0).T, RATE, subtype=subtype)
        assert read(path).shape == (4, LENGTH)
