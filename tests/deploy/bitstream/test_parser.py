"""Codes out of bytes that come through a pipe: as soon as their chunk is whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from apc_files import CHUNK, HEADER, Codes, WriteApc, random_codes, read
from hypothesis import given
from hypothesis import strategies as st
from live_streams import COLUMN, DELAY, PUSHES, SIZES, UNIT, joined, longest, parsed, sent

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.parser import StreamParser
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.streams import StreamLayout


@given(
    pushes=st.lists(st.integers(0, 15), min_size=1, max_size=12),
    last=st.integers(1, 15),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 15)),
)
def test_any_pushes_come_through_any_pieces(
    live: Header, pushes: list[int], last: int, cuts: list[int], shape: tuple[int, int, int]
) -> None:
    channels, codebooks, bits = shape
    shaped = replace(live, channels=channels, codebooks=codebooks, bits_per_code=bits)
    codes = random_codes(channels, sum(pushes) + last, codebooks, bits)
    data = b"".join(sent(shaped, codes, [*pushes, last]))
    arrivals, parser = parsed(data, cuts)
    np.testing.assert_array_equal(joined(arrivals), codes)
    assert [arrival.samples for arrival in arrivals] == [None] * (len(arrivals) - 1) + [longest(codes.shape[2])]
    assert parser.header == shaped.counted(longest(codes.shape[2]), codes.shape[2]) and parser.ended
    back, reader = read(data)
    np.testing.assert_array_equal(back, codes)
    assert reader.header == parser.header and not reader.gaps


def test_each_chunk_is_given_with_its_last_byte(live_codes: Codes, messages: list[bytes]) -> None:
    parser = StreamParser()
    assert not list(parser.feed(messages[0])) and parser.header is not None
    first = 0
    for message, push in zip(messages[1:], PUSHES, strict=True):
        chunk, end = message[: CHUNK + COLUMN * push], message[CHUNK + COLUMN * push :]
        for byte in chunk[:-1]:
            assert not list(parser.feed(bytes([byte])))
        arrivals = [*parser.feed(chunk[-1:]), *parser.feed(end)]
        np.testing.assert_array_equal(joined(arrivals), live_codes[:, :, first : first + push])
        assert arrivals[-1].samples == (longest(12) if end else None)
        first += push
    assert parser.ended and not list(parser.close())


@pytest.mark.parametrize("latents", [1, 5, 6, 7, 12, 13])
@pytest.mark.parametrize("trailer", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_other_kinds_hold_back_one_latent_at_most(
    header: Header, write_apc: WriteApc, latents: int, trailer: bool, stream: bool
) -> None:
    layout = StreamLayout(DELAY) if stream else header.layout
    shaped = replace(header, channels=2, chunk_latents=6, layout=layout, trailer=trailer)
    codes = random_codes(2, latents)
    data = write_apc(shaped, codes)
    parser, given_before, whole = StreamParser(), 0, 0
    arrivals = []
    for position, byte in enumerate(data, 1):
        for arrival in parser.feed(bytes([byte])):
            arrivals.append(arrival)
            given_before += arrival.codes.shape[2]
        whole = max(position - HEADER, 0) // (CHUNK + 6 * COLUMN) * 6
        assert given_before >= min(whole, latents) - 1
    assert not list(parser.close())
    np.testing.assert_array_equal(joined(arrivals), codes)
    assert arrivals[-1].samples == layout.longest(latents, UNIT)
    assert arrivals[-1].codes.shape[2] == 1


def test_what_is_right_comes_before_an_error(live_codes: Codes, messages: list[bytes]) -> None:
    data = bytearray(b"".join(messages))
    data[HEADER + SIZES[0] + SIZES[1] + CHUNK + 3] ^= 1
    arrivals = StreamParser().feed(bytes(data))
    assert next(arrivals).codes.shape[2] == 1
    assert next(arrivals).codes.shape[2] == 3
    with pytest.raises(BitstreamError, match=rf"chunk 2 \(byte {HEADER + SIZES[0] + SIZES[1]}\) is damaged"):
        next(arrivals)


def test_what_follows_the_end_is_an_error_after_it(live_codes: Codes, messages: list[bytes]) -> None:
    data = b"".join(messages)
    arrivals = []
    with pytest.raises(BitstreamError, match=f"more follows the last chunk, from byte {len(data)} on"):
        arrivals.extend(StreamParser().feed(data + b"\0"))
        raise AssertionError
    parser = StreamParser()
    arrivals = list(parser.feed(data))
    with pytest.raises(BitstreamError, match="more follows"):
        list(parser.feed(b"more"))
    np.testing.assert_array_equal(joined(arrivals), live_codes)
