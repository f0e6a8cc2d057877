"""FLACs that are longer or shorter than they say: all of the audio is read, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from field_clips import ID3, ID3V1, LENGTH, Read, both_ways, clip, encoded, from_path

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError


def declaring(data: bytes, samples: int) -> bytes:
    """A FLAC with another number of samples in its header: the last 36 bits of bytes 18 to 25."""
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    return data[:18] + packed.to_bytes(8, "big") + data[26:]


@both_ways
@pytest.mark.parametrize("declared", [0, LENGTH // 4, LENGTH - 1])
def test_what_it_declares_is_not_believed(tmp_path: Path, read: Read, declared: int) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(declaring(encoded("FLAC", "PCM_16"), declared))
    np.testing.assert_array_equal(read(path), clip())
    np.testing.assert_array_equal(from_path(path, Span(0.5, 1.0)), clip()[:, 24_000:48_000])


@both_ways
@pytest.mark.parametrize("declared", [(LENGTH, LENGTH), (0, LENGTH), (LENGTH, 0), (LENGTH // 4, 0)])
@pytest.mark.parametrize("before", [b"", ID3])
def test_two_in_one(tmp_path: Path, read: Read, declared: tuple[int, int], before: bytes) -> None:
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_16")
    path.write_bytes(b"".join(before + declaring(data, each) for each in declared) + ID3V1)
    both = np.tile(clip(), 2)
    np.testing.assert_array_equal(read(path), both)
    np.testing.assert_array_equal(from_path(path, Span(1.0, 2.25)), both[:, 48_000:108_000])


@both_ways
def test_what_is_cut_is_refused(tmp_path: Path, read: Read) -> None:
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_16")
    for broken in (data[: len(data) // 2], data[:-100], declaring(data, LENGTH + 5000)):
        path.write_bytes(broken)
        with pytest.raises(AudioError, match=r"a\.flac(: the file is cut| is damaged)"):
            read(path)
