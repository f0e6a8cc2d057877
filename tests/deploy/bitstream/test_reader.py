"""Whole ``.apc`` files read, and parts of them sought."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from apc_files import CHUNK, HEADER, TRAILER, Codes, WriteApc, random_codes, read
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.errors import BitstreamError


class Metered(io.BytesIO):
    """A file that gives at most ``most`` bytes at a time and counts them."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        super().__init__(data)
        self.most = most
        self.given = 0

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(self.most if size is None or size < 0 else min(size, self.most))
        self.given += len(part)
        return part


@given(
    start=st.integers(0, 50),
    length=st.integers(0, 50),
    chunk=st.integers(1, 12),
    trailer=st.booleans(),
)
def test_a_seek_is_a_slice_and_reads_no_other_chunk(
    header: Header, write_apc: WriteApc, start: int, length: int, chunk: int, trailer: bool
) -> None:
    codes = random_codes(1, 50)
    stop = min(start + length, 50)
    data = write_apc(replace(header, chunk_latents=chunk, trailer=trailer), codes)
    file = Metered(data)
    reader = BitstreamReader(file)
    opening = file.given
    parts = list(reader.chunks(start, stop))
    found = np.concatenate(parts, axis=2) if parts else np.zeros((1, 4, 0), np.int16)
    np.testing.assert_array_equal(found, codes[:, :, start:stop])
    touched = {latent // chunk for latent in range(start, stop)}
    sizes = [CHUNK + 5 * len(range(index * chunk, min((index + 1) * chunk, 50))) for index in touched]
    assert opening == HEADER + TRAILER * trailer
    assert file.given - opening == sum(sizes)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 12), (12, 12)])
def test_latents_that_are_not_there_are_refused(
    small: Header, codes: Codes, write_apc: WriteApc, start: int, stop: int
) -> None:
    with pytest.raises(BitstreamError, match="the file has 11"):
        list(BitstreamReader(io.BytesIO(write_apc(small, codes))).chunks(start, stop))


@pytest.mark.parametrize("most", [1, 5, 57])
def test_short_reads_change_nothing(small: Header, codes: Codes, write_apc: WriteApc, most: int) -> None:
    for shaped in (small, replace(small, trailer=True)):
        reader = BitstreamReader(Metered(write_apc(shaped, codes), most))
        np.testing.assert_array_equal(np.concatenate(list(reader.chunks()), axis=2), codes)


@given(
    channels=st.integers(1, 3),
    codebooks=st.integers(1, 5),
    bits=st.integers(1, 15),
    latents=st.integers(1, 30),
    chunk=st.integers(1, 12),
)
def test_every_shape_comes_back(
    header: Header, write_apc: WriteApc, channels: int, codebooks: int, bits: int, latents: int, chunk: int
) -> None:
    shaped = replace(header, channels=channels, codebooks=codebooks, bits_per_code=bits, chunk_latents=chunk)
    codes = random_codes(channels, latents, codebooks, bits)
    np.testing.assert_array_equal(read(write_apc(shaped, codes))[0], codes)


@pytest.mark.parametrize("failing", ["header", "chunk"])
def test_a_disk_that_fails_is_named(small: Header, codes: Codes, write_apc: WriteApc, failing: str) -> None:
    class Failing(Metered):
        def read(self, size: int | None = -1) -> bytes:
            if failing == "header" or self.given:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(BitstreamError, match=r"reading failed at byte \d+: Input/output error"):
        list(BitstreamReader(Failing(write_apc(small, codes))).chunks())
