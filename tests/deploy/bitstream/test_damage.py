"""Damage of any kind to a ``.apc`` file is noticed and named, and costs no memory."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from apc_files import CHUNK, HEADER, Codes, WriteApc, random_codes, read

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.errors import BitstreamError


@pytest.mark.parametrize("trailer", [False, True])
def test_every_cut_is_noticed(small: Header, codes: Codes, write_apc: WriteApc, trailer: bool) -> None:
    data = write_apc(replace(small, trailer=trailer), codes)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            read(data[:length])


@pytest.mark.parametrize("trailer", [False, True])
def test_every_flipped_bit_is_noticed(small: Header, codes: Codes, write_apc: WriteApc, trailer: bool) -> None:
    data = write_apc(replace(small, trailer=trailer), codes)
    for position, bit in itertools.product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        with pytest.raises(BitstreamError):
            read(bytes(damaged))


def test_a_cut_says_how_much_is_whole(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    with pytest.raises(BitstreamError, match=rf"{len(data) - 1} of {len(data)} bytes, 2 of 3 chunks are whole"):
        read(data[:-1])
    with pytest.raises(BitstreamError, match="0 of 3 chunks are whole; there is nothing to salvage"):
        read(data[: HEADER + 3])


def test_a_damaged_chunk_is_named(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = bytearray(write_apc(small, codes))
    start = HEADER + 52
    data[start + 30] ^= 1
    with pytest.raises(BitstreamError, match=rf"chunk 1 of 3 \(byte {start}\) is damaged"):
        read(bytes(data))


def test_swapped_chunks_are_noticed(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    first, second = slice(HEADER, HEADER + 52), slice(HEADER + 52, HEADER + 104)
    swapped = data[:HEADER] + data[second] + data[first] + data[HEADER + 104 :]
    with pytest.raises(BitstreamError, match="chunk 0"):
        read(swapped)
    back, reader = read(swapped, salvage=True)
    assert [(gap.start, gap.stop) for gap in reader.gaps] == [(0, 4), (4, 8)]
    np.testing.assert_array_equal(back[:, :, 8:], codes[:, :, 8:])


@pytest.mark.parametrize("surplus", [b"\0", b"x" * 500])
def test_appended_bytes_are_noticed(small: Header, codes: Codes, write_apc: WriteApc, surplus: bytes) -> None:
    data = write_apc(small, codes)
    with pytest.raises(BitstreamError, match=f"{len(surplus)} bytes follow the last chunk"):
        read(data + surplus)
    np.testing.assert_array_equal(read(data + surplus, salvage=True)[0], codes)


def test_two_files_in_one_are_noticed(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    with pytest.raises(BitstreamError, match=f"{len(data)} bytes follow"):
        read(data + data)


@pytest.mark.parametrize("filler", range(4))
def test_a_set_bit_after_the_codes_is_noticed_behind_a_right_checksum(
    header: Header, write_apc: WriteApc, filler: int
) -> None:
    data = bytearray(write_apc(replace(header, codebooks=2), random_codes(1, 1, codebooks=2)))
    data[-1] |= 1 << filler
    payload = bytes(data[HEADER + CHUNK :])
    crc = zlib.crc32(struct.pack("<III", 0, 1, len(payload)) + payload)
    data[HEADER + 8 : HEADER + 12] = struct.pack("<I", crc)
    with pytest.raises(BitstreamError, match=r"chunk 0 of 1.*not zero"):
        read(bytes(data))


@pytest.mark.parametrize("trailer", [False, True])
@pytest.mark.parametrize("salvage", [False, True])
def test_huge_declared_sizes_allocate_nothing(header: Header, salvage: bool, trailer: bool) -> None:
    latents = 2**32 - 1
    huge = replace(
        header,
        channels=65535,
        codebooks=255,
        bits_per_code=15,
        chunk_latents=1 << 20,
        samples=latents * 320 - 1,
        latents=latents,
        trailer=trailer,
    )
    data = huge.to_bytes() + bytes(1000) + (huge.trailer_bytes() if trailer else b"")
    tracemalloc.start()
    try:
        with pytest.raises(BitstreamError):
            read(data, salvage=salvage)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
