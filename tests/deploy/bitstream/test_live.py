"""Live streams: chunks of what there was, given out as they come, and files that hold them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.parser import Arrival, StreamParser
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.bitstream.writer import BitstreamWriter, LiveWriter
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.streams import StreamLayout

HEADER, CHUNK, TRAILER = 56, 12, 20
UNIT, DELAY = 320, 280
COLUMN = 10
"""Bytes of a latent of two channels."""

Codes = NDArray[np.int16]
WriteApc = Callable[..., bytes]
PUSHES = [1, 3, 2, 1, 5]
SIZES = [CHUNK + COLUMN * push for push in PUSHES]


def random_codes(latents: int, channels: int = 2, codebooks: int = 4, bits: int = 10) -> Codes:
    """None of them is 0, which stands for what is lost."""
    return np.random.default_rng(latents).integers(1, 2**bits, (channels, codebooks, latents)).astype(np.int16)


def longest(latents: int) -> int:
    return latents * UNIT - DELAY


class Sent(io.BytesIO):
    """Remembers what was written at a time, and flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.waiting = b""

    def write(self, data: Any) -> int:
        self.waiting += bytes(data)
        return super().write(data)

    def flush(self) -> None:
        if self.waiting:
            self.messages.append(self.waiting)
        self.waiting = b""


def sent(header: Header, codes: Codes, pushes: Sequence[int]) -> list[bytes]:
    """The messages of a live stream; the last push ends it."""
    file = Sent()
    writer = LiveWriter(file, header)
    borders = list(itertools.accumulate(pushes, initial=0))
    for start, stop in itertools.pairwise(borders[:-1]):
        writer.write(codes[:, :, start:stop])
    writer.finish(codes[:, :, borders[-2] :], longest(codes.shape[2]))
    assert not file.waiting
    return file.messages


def joined(arrivals: Sequence[Arrival]) -> Codes:
    return np.concatenate([arrival.codes for arrival in arrivals], axis=2)


def parsed(data: bytes, cuts: Sequence[int] = (), *, salvage: bool = False) -> tuple[list[Arrival], StreamParser]:
    """What comes of a stream that is fed in pieces."""
    parser = StreamParser(salvage=salvage)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    arrivals: list[Arrival] = []
    for start, stop in itertools.pairwise(borders):
        arrivals += parser.feed(data[start:stop])
    return [*arrivals, *parser.close()], parser


def read(data: bytes, *, salvage: bool = False) -> tuple[Codes, BitstreamReader]:
    reader = BitstreamReader(io.BytesIO(data), salvage=salvage)
    return np.concatenate(list(reader.chunks()), axis=2), reader


@pytest.fixture(scope="session")
def live(header: Header) -> Header:
    """Two channels, at most 6 latents a chunk."""
    return replace(header, channels=2, chunk_latents=6, layout=StreamLayout(DELAY), trailer=True, live=True)


@pytest.fixture(scope="session")
def codes() -> Codes:
    return random_codes(sum(PUSHES))


@pytest.fixture(scope="session")
def messages(live: Header, codes: Codes) -> list[bytes]:
    return sent(live, codes, PUSHES)


class TestWriting:
    def test_each_push_leaves_at_once_as_documented(self, live: Header, codes: Codes, messages: list[bytes]) -> None:
        assert messages[0] == live.to_bytes()
        assert list(map(len, messages[1:])) == [*SIZES[:-1], SIZES[-1] + TRAILER]
        first = 0
        for number, (push, message) in enumerate(zip(PUSHES, messages[1:], strict=True)):
            field, length, crc = struct.unpack_from("<III", message)
            payload = message[CHUNK : CHUNK + length]
            assert field == push + (2**31 if number == len(PUSHES) - 1 else 0)
            assert crc == zlib.crc32(struct.pack("<III", number, field, length) + payload)
            digits = "".join(f"{code:010b}" for code in codes[:, :, first : first + push].transpose(2, 0, 1).ravel())
            assert payload == int(digits, 2).to_bytes(COLUMN * push, "big")
            first += push
        body = b"APC\x89" + struct.pack("<QI", longest(12), 12)
        assert messages[-1][-TRAILER:] == body + struct.pack("<I", zlib.crc32(body))

    def test_a_push_of_nothing_writes_nothing_and_a_long_one_several_chunks(self, live: Header) -> None:
        file = Sent()
        writer = LiveWriter(file, live)
        writer.write(random_codes(0))
        assert len(file.messages) == 1
        codes = random_codes(13)
        writer.write(codes)
        assert len(file.messages[1]) == 3 * CHUNK + 13 * COLUMN
        writer.finish(codes, longest(26))
        assert len(file.messages[2]) == 3 * CHUNK + 13 * COLUMN + TRAILER
        np.testing.assert_array_equal(read(file.getvalue())[0], np.concatenate((codes, codes), axis=2))

    def test_it_cannot_end_without_codes_or_with_wrong_counts(self, live: Header) -> None:
        for codes, samples, reason in (
            (random_codes(0), 40, "without codes"),
            (random_codes(1), 41, "41 samples and 1 latents"),
            (random_codes(1), 0, "without samples"),
        ):
            file = Sent()
            with pytest.raises(BitstreamError, match=reason):
                LiveWriter(file, live).finish(codes, samples)
            assert file.messages == [live.to_bytes()]

    def test_other_files_are_of_the_usual_kind(self, live: Header, codes: Codes) -> None:
        file = io.BytesIO()
        writer = BitstreamWriter(file, live)
        writer.write(codes)
        assert not writer.finish(longest(12)).live
        back, reader = read(file.getvalue())
        np.testing.assert_array_equal(back, codes)
        assert (reader.header.live, reader.chunk_count) == (False, 2)


class TestParsing:
    @given(
        pushes=st.lists(st.integers(0, 15), min_size=1, max_size=12),
        last=st.integers(1, 15),
        cuts=st.lists(st.integers(0, 2000), max_size=12),
        shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 15)),
    )
    def test_any_pushes_come_through_any_pieces(
        self, live: Header, pushes: list[int], last: int, cuts: list[int], shape: tuple[int, int, int]
    ) -> None:
        channels, codebooks, bits = shape
        shaped = replace(live, channels=channels, codebooks=codebooks, bits_per_code=bits)
        codes = random_codes(sum(pushes) + last, channels, codebooks, bits)
        data = b"".join(sent(shaped, codes, [*pushes, last]))
        arrivals, parser = parsed(data, cuts)
        np.testing.assert_array_equal(joined(arrivals), codes)
        assert [arrival.samples for arrival in arrivals] == [None] * (len(arrivals) - 1) + [longest(codes.shape[2])]
        assert parser.header == shaped.counted(longest(codes.shape[2]), codes.shape[2]) and parser.ended
        back, reader = read(data)
        np.testing.assert_array_equal(back, codes)
        assert reader.header == parser.header and not reader.gaps

    def test_each_chunk_is_given_with_its_last_byte(self, codes: Codes, messages: list[bytes]) -> None:
        parser = StreamParser()
        assert not list(parser.feed(messages[0])) and parser.header is not None
        first = 0
        for message, push in zip(messages[1:], PUSHES, strict=True):
            chunk, end = message[: CHUNK + COLUMN * push], message[CHUNK + COLUMN * push :]
            for byte in chunk[:-1]:
                assert not list(parser.feed(bytes([byte])))
            arrivals = [*parser.feed(chunk[-1:]), *parser.feed(end)]
            np.testing.assert_array_equal(joined(arrivals), codes[:, :, first : first + push])
            assert arrivals[-1].samples == (longest(12) if end else None)
            first += push
        assert parser.ended and not list(parser.close())

    @pytest.mark.parametrize("latents", [1, 5, 6, 7, 12, 13])
    @pytest.mark.parametrize("trailer", [True, False])
    @pytest.mark.parametrize("stream", [True, False])
    def test_other_kinds_hold_back_one_latent_at_most(
        self, header: Header, write_apc: WriteApc, latents: int, trailer: bool, stream: bool
    ) -> None:
        layout = StreamLayout(DELAY) if stream else header.layout
        shaped = replace(header, channels=2, chunk_latents=6, layout=layout, trailer=trailer)
        codes = random_codes(latents)
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

    def test_what_is_right_comes_before_an_error(self, codes: Codes, messages: list[bytes]) -> None:
        data = bytearray(b"".join(messages))
        data[HEADER + SIZES[0] + SIZES[1] + CHUNK + 3] ^= 1
        arrivals = StreamParser().feed(bytes(data))
        assert next(arrivals).codes.shape[2] == 1
        assert next(arrivals).codes.shape[2] == 3
        with pytest.raises(BitstreamError, match=rf"chunk 2 \(byte {HEADER + SIZES[0] + SIZES[1]}\) is damaged"):
            next(arrivals)

    def test_what_follows_the_end_is_an_error_after_it(self, codes: Codes, messages: list[bytes]) -> None:
        data = b"".join(messages)
        arrivals = []
        with pytest.raises(BitstreamError, match=f"more follows the last chunk, from byte {len(data)} on"):
            arrivals.extend(StreamParser().feed(data + b"\0"))
            raise AssertionError
        parser = StreamParser()
        arrivals = list(parser.feed(data))
        with pytest.raises(BitstreamError, match="more follows"):
            list(parser.feed(b"more"))
        np.testing.assert_array_equal(joined(arrivals), codes)


class TestReading:
    @given(start=st.integers(0, 12), length=st.integers(0, 12))
    def test_a_seek_is_a_slice(self, codes: Codes, messages: list[bytes], start: int, length: int) -> None:
        stop = min(start + length, 12)
        parts = list(BitstreamReader(io.BytesIO(b"".join(messages))).chunks(start, stop))
        found = np.concatenate(parts, axis=2) if parts else np.zeros((2, 4, 0), np.int16)
        np.testing.assert_array_equal(found, codes[:, :, start:stop])
        ends = list(itertools.accumulate(PUSHES))
        touched = [end for end, push in zip(ends, PUSHES, strict=True) if start < end and end - push < stop]
        assert len(parts) == len(touched) * (start < stop)

    def test_a_chunk_longer_than_declared_is_refused(self, live: Header) -> None:
        data = b"".join(sent(live, random_codes(7), [6, 1]))
        narrow = replace(live, chunk_latents=5).to_bytes() + data[HEADER:]
        with pytest.raises(BitstreamError, match=r"chunk 0.*6 latents"):
            read(narrow)


def damaged(messages: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    data = b"".join(messages)
    for position, mask in itertools.product(range(HEADER, len(data)), (1, 0x80, 0xFF)):
        changed = bytearray(data)
        changed[position] ^= mask
        yield position, bytes(changed)


class TestDamage:
    def test_every_cut_is_noticed(self, messages: list[bytes]) -> None:
        data = b"".join(messages)
        for length in range(len(data)):
            with pytest.raises(BitstreamError):
                read(data[:length])
            with pytest.raises(BitstreamError):
                parsed(data[:length])

    def test_every_changed_byte_is_noticed(self, messages: list[bytes]) -> None:
        for _, data in damaged(messages):
            with pytest.raises(BitstreamError):
                read(data)
            with pytest.raises(BitstreamError):
                parsed(data)

    def test_an_end_that_is_not_marked_and_a_mark_that_is_not_the_end(self, live: Header, codes: Codes) -> None:
        messages = sent(live, codes, [4, 4, 4])
        with pytest.raises(BitstreamError, match="not the last one"):
            read(b"".join((*messages[:2], messages[2], trailer(live, 8))))
        marked = sent(live, codes[:, :, :4], [4])
        with pytest.raises(BitstreamError, match="it follows the last one"):
            read(b"".join((live.to_bytes(), marked[1][:-TRAILER], *messages[2:])))


def trailer(header: Header, latents: int) -> bytes:
    return header.counted(longest(latents), latents).trailer_bytes()


class TestSalvage:
    def test_a_cut_gives_what_is_whole(self, codes: Codes, messages: list[bytes]) -> None:
        data = b"".join(messages)
        ends = list(itertools.accumulate(SIZES, initial=HEADER))
        for length in range(len(data)):
            whole = sum(push for push, end in zip(PUSHES, ends[1:], strict=True) if end <= length)
            if not whole:
                with pytest.raises(BitstreamError):
                    read(data[:length], salvage=True)
                continue
            back, reader = read(data[:length], salvage=True)
            np.testing.assert_array_equal(back, codes[:, :, :whole])
            assert (reader.header.latents, reader.header.samples) == (whole, longest(whole))
            assert [(gap.start, gap.stop) for gap in reader.gaps] == [(whole, whole)]
            arrivals, parser = parsed(data[:length], range(0, length, 7), salvage=True)
            np.testing.assert_array_equal(joined(arrivals), back)
            assert arrivals[-1].samples == longest(whole) and parser.ended

    def test_a_damaged_chunk_is_silent_and_all_others_are_kept(self, codes: Codes, messages: list[bytes]) -> None:
        ends = list(itertools.accumulate(SIZES, initial=HEADER))
        firsts = list(itertools.accumulate(PUSHES, initial=0))
        for position, data in damaged(messages):
            back, reader = read(data, salvage=True)
            number = sum(end <= position for end in ends[1:])
            if number == len(PUSHES):
                np.testing.assert_array_equal(back, codes)
                assert [(gap.start, gap.stop) for gap in reader.gaps] == [(12, 12)]
            else:
                expected = codes.copy()
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
    def test_a_burst_costs_what_it_hits(self, live: Header, place: int, size: int, filler: int) -> None:
        """As many chunks as a bad sector holds are lost, and counted, and the others stand where they stood."""
        codes = random_codes(40)
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
    def test_messages_that_never_came(self, codes: Codes, messages: list[bytes], gone: list[int]) -> None:
        left = [message for number, message in enumerate(messages) if number not in gone]
        with pytest.raises(BitstreamError, match="is damaged"):
            read(b"".join(left))
        back, reader = read(b"".join(left), salvage=True)
        firsts = list(itertools.accumulate(PUSHES, initial=0))
        kept = [codes[:, :, firsts[n - 1] : firsts[n]] for n in range(1, len(messages)) if n not in gone]
        np.testing.assert_array_equal(back, np.concatenate(kept, axis=2))
        assert reader.gaps and reader.header.latents == back.shape[2]

    def test_a_message_that_came_twice(self, codes: Codes, messages: list[bytes]) -> None:
        back, reader = read(b"".join([*messages[:3], messages[2], *messages[3:]]), salvage=True)
        np.testing.assert_array_equal(back, codes)
        assert reader.header.samples == longest(12) and len(reader.gaps) == 1

    def test_noise_of_a_megabyte_ends_soon(self, live: Header, messages: list[bytes]) -> None:
        noise = np.random.default_rng(0).bytes(1 << 18)
        back, reader = read(b"".join(messages[:3]) + noise, salvage=True)
        assert back.shape[2] == reader.header.latents == 4
        crafted = struct.pack("<III", 6, 6 * COLUMN, 0) * 2000
        read(b"".join(messages[:3]) + crafted, salvage=True)
