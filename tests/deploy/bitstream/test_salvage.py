"""What can be salvaged of a damaged ``.apc`` file, and what is told of the rest."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from apc_files import HEADER, Codes, WriteApc, random_codes, read

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.streams import StreamLayout


def test_a_bad_chunk_becomes_a_gap(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    starts = [HEADER, HEADER + 52, HEADER + 104, len(data)]
    for index, (start, stop) in enumerate(itertools.pairwise(starts)):
        first, last = 4 * index, min(4 * index + 4, 11)
        expected = codes.copy()
        expected[:, :, first:last] = 0
        for position in range(start, stop):
            damaged = bytearray(data)
            damaged[position] ^= 0x40
            back, reader = read(bytes(damaged), salvage=True)
            assert [(gap.start, gap.stop) for gap in reader.gaps] == [(first, last)]
            assert f"chunk {index} of 3" in reader.gaps[0].reason
            np.testing.assert_array_equal(back, expected)


def test_nothing_is_missing_from_a_whole_file(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    back, reader = read(write_apc(small, codes), salvage=True)
    np.testing.assert_array_equal(back, codes)
    assert reader.gaps == []


def test_only_the_gaps_that_were_read_are_listed(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = bytearray(write_apc(small, codes))
    data[HEADER + 20] ^= 1
    reader = BitstreamReader(io.BytesIO(bytes(data)), salvage=True)
    np.testing.assert_array_equal(np.concatenate(list(reader.chunks(4, 11)), axis=2), codes[:, :, 4:])
    assert reader.gaps == []
    list(reader.chunks(2, 5))
    assert [(gap.start, gap.stop) for gap in reader.gaps] == [(0, 4)]


def test_a_cut_file_gives_its_whole_chunks(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    for length in range(HEADER, len(data)):
        whole = (length - HEADER) // 52 * 4
        if not whole:
            with pytest.raises(BitstreamError, match="nothing can be salvaged"):
                read(data[:length], salvage=True)
            continue
        back, reader = read(data[:length], salvage=True)
        np.testing.assert_array_equal(back, codes[:, :, :whole])
        assert [(gap.start, gap.stop) for gap in reader.gaps] == [(back.shape[2], codes.shape[2])]
        assert (reader.header.latents, reader.header.samples) == (whole, whole * 320 - 1)


@pytest.mark.parametrize("latents", range(1, 18))
@pytest.mark.parametrize("lost", [1, 19, 20])
def test_a_missing_trailer_costs_no_code(small: Header, write_apc: WriteApc, latents: int, lost: int) -> None:
    codes = random_codes(2, latents)
    data = write_apc(replace(small, trailer=True), codes)
    back, reader = read(data[:-lost], salvage=True)
    np.testing.assert_array_equal(back, codes)
    assert [(gap.start, gap.stop, "trailer" in gap.reason) for gap in reader.gaps] == [(latents, latents, True)]
    assert reader.header.latents == latents


@pytest.mark.parametrize("latents", [4095, 4096, 4097])
def test_a_damaged_trailer_costs_no_code_at_the_usual_chunk_size(
    header: Header, write_apc: WriteApc, latents: int
) -> None:
    codes = random_codes(1, latents)
    data = bytearray(write_apc(replace(header, trailer=True), codes))
    data[-10] ^= 1
    back, reader = read(bytes(data), salvage=True)
    np.testing.assert_array_equal(back, codes)
    assert [(gap.start, gap.stop, "trailer" in gap.reason) for gap in reader.gaps] == [(latents, latents, True)]


@pytest.mark.parametrize("trailer", [False, True])
def test_a_cut_stream_gives_the_longest_clip_of_its_latents(
    small: Header, codes: Codes, write_apc: WriteApc, trailer: bool
) -> None:
    data = write_apc(replace(small, layout=StreamLayout(280), trailer=trailer), codes)
    back, reader = read(data[: HEADER + 2 * 52 + 5], salvage=True)
    np.testing.assert_array_equal(back, codes[:, :, :8])
    assert (reader.header.latents, reader.header.samples) == (8, 8 * 320 - 280)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000])
@pytest.mark.parametrize("trailer", [False, True])
def test_a_cut_file_of_another_rate_keeps_counts_that_agree(
    small: Header, write_apc: WriteApc, rate: int, trailer: bool
) -> None:
    codes = random_codes(2, 40)
    data = write_apc(replace(small, sample_rate=rate, trailer=trailer), codes, 39 * 320 * rate // 48000 + 2)
    back, reader = read(data[: HEADER + 7 * 52 + 30], salvage=True)
    np.testing.assert_array_equal(back, codes[:, :, :28])
    seconds = 28 * 320 / 48000
    assert reader.header.samples == pytest.approx(seconds * rate, abs=2)
    assert Header.from_bytes(replace(reader.header, trailer=False).to_bytes()).latents == 28


def test_a_damaged_header_cannot_be_salvaged(small: Header, codes: Codes, write_apc: WriteApc) -> None:
    data = write_apc(small, codes)
    for position in range(HEADER):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(BitstreamError):
            read(bytes(damaged), salvage=True)
