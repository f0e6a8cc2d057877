"""Whole ``.apc`` files as they are written, to files and to pipes."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from apc_files import HEADER, TRAILER, Codes, WriteApc, random_codes, read
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.index import fixed_bytes
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.errors import BitstreamError


class Pipe(io.RawIOBase):
    """A file that can only be written to."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


@given(
    cuts=st.lists(st.integers(0, 40), max_size=8),
    latents=st.integers(1, 40),
    chunk=st.integers(1, 45),
    trailer=st.booleans(),
)
def test_any_blocks_give_the_same_bytes(
    header: Header, write_apc: WriteApc, cuts: list[int], latents: int, chunk: int, trailer: bool
) -> None:
    shaped = replace(header, channels=2, chunk_latents=chunk, trailer=trailer)
    codes = random_codes(2, latents)
    file = io.BytesIO()
    writer = BitstreamWriter(file, shaped)
    borders = [0, *sorted(min(cut, latents) for cut in cuts), latents]
    for start, stop in itertools.pairwise(borders):
        writer.write(codes[:, :, start:stop])
    finished = writer.finish(latents * 320 - 1)
    assert file.getvalue() == write_apc(shaped, codes)
    assert len(file.getvalue()) == fixed_bytes(finished)
    np.testing.assert_array_equal(read(file.getvalue())[0], codes)


def test_a_pipe_gets_what_a_file_gets(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    streamed = replace(small, trailer=True)
    pipe = Pipe()
    writer = BitstreamWriter(cast(BinaryIO, pipe), streamed)
    writer.write(codes)
    writer.finish(11 * 320 - 1)
    assert pipe.data == write_apc(streamed, codes)


def test_a_trailer_changes_nothing_between_the_ends(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    plain, streamed = write_apc(small, codes), write_apc(replace(small, trailer=True), codes)
    assert streamed[HEADER:-TRAILER] == plain[HEADER:]
    back, reader = read(streamed)
    np.testing.assert_array_equal(back, codes)
    assert reader.header == replace(small, trailer=True, samples=11 * 320 - 1, latents=11)


def test_the_start_may_be_inside_a_file(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    file = io.BytesIO()
    file.write(b"before")
    writer = BitstreamWriter(file, small)
    writer.write(codes)
    writer.finish(11 * 320 - 1)
    file.write(b"after")
    assert file.getvalue() == b"before" + write_apc(small, codes) + b"after"


@pytest.mark.parametrize("samples", [11 * 320, 10 * 320 - 1, 1])
def test_counts_that_contradict_each_other_are_refused(
    small: Header, codes: Codes, write_apc: WriteApc, samples: int
) -> None:
    with pytest.raises(BitstreamError, match=f"{samples} samples and 11 latents"):
        write_apc(small, codes, samples)


@pytest.mark.parametrize("trailer", [False, True])
def test_a_clip_without_samples_is_refused(small: Header, write_apc: WriteApc, trailer: bool) -> None:
    with pytest.raises(BitstreamError):
        write_apc(replace(small, trailer=trailer), np.zeros((2, 4, 0), np.int16), 0)


@pytest.mark.parametrize("code", [-1, 1024, 32767, 32768, 65536, 65541, -65536])
def test_codes_out_of_range_are_refused(header: Header, write_apc: WriteApc, code: int) -> None:
    with pytest.raises(BitstreamError, match="do not fit in 10 bits"):
        write_apc(header, np.full((1, 4, 1), code, np.int64))


@pytest.mark.parametrize("seconds", [10.0, 13.65, 13.66, 27.31, 60.0, 600.0])
def test_overhead_is_under_a_hundredth_from_ten_seconds_on(header: Header, write_apc: WriteApc, seconds: float) -> None:
    samples = round(48000 * seconds)
    latents = samples // 320 + 1
    codes = np.zeros((1, 4, latents), np.int16)
    payload = latents * 4 * 10 / 8
    assert len(write_apc(header, codes, samples)) < 1.01 * payload
