"""Parts of files against slices of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.span import Span, cut
from apcodec_deploy.errors import AudioError


def read(path: Path, span: Span) -> NDArray[np.float32]:
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(span)), axis=1)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 100), st.integers(1, 100), st.integers(0, 20)
)
def test_blocks_are_cut_like_arrays(lengths: list[int], first: int, length: int, at: int) -> None:
    whole = np.arange(at, at + sum(lengths), dtype=np.float32)[None]
    blocks = np.split(whole, np.cumsum(lengths)[:-1], axis=1)
    stop = first + length
    if first < at:
        return
    if stop <= at + whole.shape[1]:
        np.testing.assert_array_equal(
            np.concatenate(list(cut(blocks, first, stop, at=at)), axis=1)[0], np.arange(first, stop)
        )
    else:
        with pytest.raises(AudioError, match="the part is from"):
            list(cut(blocks, first, stop, at=at))
    if first < at + whole.shape[1]:
        rest = np.concatenate(list(cut(blocks, first, None, at=at)), axis=1)[0]
        np.testing.assert_array_equal(rest, np.arange(first, at + whole.shape[1]))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_part_of_a_file_is_that_part_of_it(tmp_path: Path, speech: NDArray[np.float32], suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([speech, speech[::-1]], axis=1)[:150_000], 44_100)
    whole = read(path, Span())
    for start, end in ((0.0, 1.5), (0.25, 2.75), (1.0, None), (2.999, 3.0)):
        part = read(path, Span(start, end))
        last = whole.shape[1] if end is None else round(end * 44_100)
        np.testing.assert_allclose(part, whole[:, round(start * 44_100) : last], atol=2e-4 if suffix == "mp3" else 0)
    with pytest.raises(AudioError, match=r"a\.\w+: the file has .* the part is from"):
        read(path, Span(3.0, 100.0))
    with pytest.raises(AudioError, match="the part is from"):
        read(path, Span(100.0))


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, None), (1.0, 1.0), (2.0, 1.0), (float("nan"), None), (0.0, float("inf"))]
)
def test_a_part_has_a_length(start: float, end: float | None) -> None:
    with pytest.raises(AudioError, match="a part from"):
        Span(start, end)
