"""What is kept of a damaged live stream: all that is whole, where it stood."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from apc_files import CHUNK, HEADER, Codes, random_codes, read
from hypothesis import given
from hypothesis import strategies as st
from live_streams import COLUMN, PUSHES, SIZES, damaged, joined, longest, parsed, sent

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.errors import BitstreamError


def test_a_cut_gives_what_is_whole(live_codes: Codes, messages: list[bytes]) -> None:
    data = b"".join(messages)
    ends = list(itertools.accumulate(SIZES, initial=HEADER))
    for length in range(len(data)):
        whole = sum(push for push, end in zip(PUSHES, ends[1:], strict=True) if end <= length)
        if not whole:
            with pytest.raises(BitstreamError):
                read(data[:length], salvage=True)
            continue
        back, reader = read(data[:length], salvage=True)
        np.testing.assert_array_equal(back, live_codes[:, :, :whole])
        assert (reader.header.latents, reader.header.samples) == (whole, longest(whole))
        assert [(gap.start, gap.stop) for gap in reader.gaps] == [(whole, whole)]
        arrivals, parser = parsed(data[:length], range(0, length, 7), salvage=True)
        np.testing.assert_array_equal(joined(arrivals), back)
        assert arrivals[-1].samples == longest(whole) and parser.ended


def test_a_damaged_chunk_is_silent_and_all_others_are_kept(live_codes: Codes, messages: list[bytes]) -> None:
    ends = list(itertools.accumulate(SIZES, initial=HEADER))
    firsts = list(itertools.accumulate(PUSHES, initial=0))
    for position, data in damaged(messages):
        back, reader = read(data, salvage=True)
        number = sum(end <= position for end in ends[1:])
        if number == len(PUSHES):
            np.testing.assert_array_equal(back, live_codes)
            assert [(gap.start, gap.stop) for gap in reader.gaps] == [(12, 12)]
        else:
            expected = live_codes.copy()
            expected[:, :, firsts[number] : firsts[number + 1]] = 0
            np.testing.assert_array_equal(back, expected)
            assert [(gap.start, gap.stop) for gap in reader.gaps] == [(firsts[number], firsts[number + 1])]
            assert f"chunk {number} " in reader.gaps[0].reason
            assert reader.header.samples == longest(12)
        arrivals, parser = parsed(data, range(0, len(data), 5), salvage=True)
        np.testing.assert_array_equal(joined(arrivals), back)
        assert arrivals[-1].samples == reader.header.samples
        assert [(gap.start, gap.stop) for gap in parser.gaps] == [(gap.start, gap.stop) for gap in reader.gaps]


@given(place=st.integers(HEADER, 400), size=st.integers(1, 150), filler=st.integers(0, 255))
def test_a_burst_costs_what_it_hits(live: Header, place: int, size: int, filler: int) -> None:
    """As many chunks as a bad sector holds are lost, and counted, and the others stand where they stood."""
    codes = random_codes(2, 40)
    data = bytearray(b"".join(sent(live, codes, [1, 2] * 13 + [1])))
    borders = [*itertools.accumulate([CHUNK + COLUMN, CHUNK + 2 * COLUMN] * 13 + [CHUNK + COLUMN], initial=HEADER)]
    data[place : place + size] = bytes([filler]) * len(data[place : place + size])
    back, reader = read(bytes(data), salvage=True)
    firsts = [*itertools.accumulate([1, 2] * 13 + [1], initial=0)]
    expected = codes.copy()
    for index, (start, stop) in enumerate(itertools.pairwise(borders)):
        if start < place + size and stop > place:
            expected[:, :, firsts[index] : firsts[index + 1]] = 0
    if np.array_equal(back, codes):
        return  # the filler was what stood there
    assert reader.header.samples == longest(40)
    for latent in range(40):
        assert np.array_equal(back[:, :, latent], expected[:, :, latent]) or np.array_equal(
            back[:, :, latent], codes[:, :, latent]
        )


@pytest.mark.parametrize("gone", [[1], [2, 3], [1, 4]])
def test_messages_that_never_came(live_codes: Codes, messages: list[bytes], gone: list[int]) -> None:
    left = [message for number, message in enumerate(messages) if number not in gone]
    with pytest.raises(BitstreamError, match="is damaged"):
        read(b"".join(left))
    back, reader = read(b"".join(left), salvage=True)
    firsts = list(itertools.accumulate(PUSHES, initial=0))
    kept = [live_codes[:, :, firsts[n - 1] : firsts[n]] for n in range(1, len(messages)) if n not in gone]
    np.testing.assert_array_equal(back, np.concatenate(kept, axis=2))
    assert reader.gaps and reader.header.latents == back.shape[2]


def test_a_message_that_came_twice(live_codes: Codes, messages: list[bytes]) -> None:
    back, reader = read(b"".join([*messages[:3], messages[2], *messages[3:]]), salvage=True)
    np.testing.assert_array_equal(back, live_codes)
    assert reader.header.samples == longest(12) and len(reader.gaps) == 1


def test_noise_of_a_megabyte_ends_soon(live: Header, messages: list[bytes]) -> None:
    noise = np.random.default_rng(0).bytes(1 << 18)
    back, reader = read(b"".join(messages[:3]) + noise, salvage=True)
    assert back.shape[2] == reader.header.latents == 4
    crafted = struct.pack("<III", 6, 6 * COLUMN, 0) * 2000
    read(b"".join(messages[:3]) + crafted, salvage=True)
