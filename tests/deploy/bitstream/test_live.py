"""Live streams as they are written, and read as files: chunks of what there was."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from apc_files import CHUNK, HEADER, TRAILER, Codes, random_codes, read
from hypothesis import given
from hypothesis import strategies as st
from live_streams import COLUMN, PUSHES, SIZES, Sent, damaged, longest, parsed, sent

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.bitstream.writer import BitstreamWriter, LiveWriter
from apcodec_deploy.errors import BitstreamError


def test_each_push_leaves_at_once_as_documented(live: Header, live_codes: Codes, messages: list[bytes]) -> None:
    assert messages[0] == live.to_bytes()
    assert list(map(len, messages[1:])) == [*SIZES[:-1], SIZES[-1] + TRAILER]
    first = 0
    for number, (push, message) in enumerate(zip(PUSHES, messages[1:], strict=True)):
        field, length, crc = struct.unpack_from("<III", message)
        payload = message[CHUNK : CHUNK + length]
        assert field == push + (2**31 if number == len(PUSHES) - 1 else 0)
        assert crc == zlib.crc32(struct.pack("<III", number, field, length) + payload)
        digits = "".join(f"{code:010b}" for code in live_codes[:, :, first : first + push].transpose(2, 0, 1).ravel())
        assert payload == int(digits, 2).to_bytes(COLUMN * push, "big")
        first += push
    body = b"APC\x89" + struct.pack("<QI", longest(12), 12)
    assert messages[-1][-TRAILER:] == body + struct.pack("<I", zlib.crc32(body))


def test_a_push_of_nothing_writes_nothing_and_a_long_one_several_chunks(live: Header) -> None:
    file = Sent()
    writer = LiveWriter(file, live)
    writer.write(random_codes(2, 0))
    assert len(file.messages) == 1
    codes = random_codes(2, 13)
    writer.write(codes)
    assert len(file.messages[1]) == 3 * CHUNK + 13 * COLUMN
    writer.finish(codes, longest(26))
    assert len(file.messages[2]) == 3 * CHUNK + 13 * COLUMN + TRAILER
    np.testing.assert_array_equal(read(file.getvalue())[0], np.concatenate((codes, codes), axis=2))


def test_it_cannot_end_without_codes_or_with_wrong_counts(live: Header) -> None:
    for codes, samples, reason in (
        (random_codes(2, 0), 40, "without codes"),
        (random_codes(2, 1), 41, "41 samples and 1 latents"),
        (random_codes(2, 1), 0, "without samples"),
    ):
        file = Sent()
        with pytest.raises(BitstreamError, match=reason):
            LiveWriter(file, live).finish(codes, samples)
        assert file.messages == [live.to_bytes()]


def test_other_files_are_of_the_usual_kind(live: Header, live_codes: Codes) -> None:
    file = io.BytesIO()
    writer = BitstreamWriter(file, live)
    writer.write(live_codes)
    assert not writer.finish(longest(12)).live
    back, reader = read(file.getvalue())
    np.testing.assert_array_equal(back, live_codes)
    assert (reader.header.live, reader.chunk_count) == (False, 2)


@given(start=st.integers(0, 12), length=st.integers(0, 12))
def test_a_seek_is_a_slice(live_codes: Codes, messages: list[bytes], start: int, length: int) -> None:
    stop = min(start + length, 12)
    parts = list(BitstreamReader(io.BytesIO(b"".join(messages))).chunks(start, stop))
    found = np.concatenate(parts, axis=2) if parts else np.zeros((2, 4, 0), np.int16)
    np.testing.assert_array_equal(found, live_codes[:, :, start:stop])
    ends = list(itertools.accumulate(PUSHES))
    touched = [end for end, push in zip(ends, PUSHES, strict=True) if start < end and end - push < stop]
    assert len(parts) == len(touched) * (start < stop)


def test_a_chunk_longer_than_declared_is_refused(live: Header) -> None:
    data = b"".join(sent(live, random_codes(2, 7), [6, 1]))
    narrow = replace(live, chunk_latents=5).to_bytes() + data[HEADER:]
    with pytest.raises(BitstreamError, match=r"chunk 0.*6 latents"):
        read(narrow)


def test_every_cut_is_noticed(messages: list[bytes]) -> None:
    data = b"".join(messages)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            read(data[:length])
        with pytest.raises(BitstreamError):
            parsed(data[:length])


def test_every_changed_byte_is_noticed(messages: list[bytes]) -> None:
    for _, data in damaged(messages):
        with pytest.raises(BitstreamError):
            read(data)
        with pytest.raises(BitstreamError):
            parsed(data)


def test_an_end_that_is_not_marked_and_a_mark_that_is_not_the_end(live: Header, live_codes: Codes) -> None:
    messages = sent(live, live_codes, [4, 4, 4])
    with pytest.raises(BitstreamError, match="not the last one"):
        read(b"".join((*messages[:2], messages[2], trailer(live, 8))))
    marked = sent(live, live_codes[:, :, :4], [4])
    with pytest.raises(BitstreamError, match="it follows the last one"):
        read(b"".join((live.to_bytes(), marked[1][:-TRAILER], *messages[2:])))


def trailer(header: Header, latents: int) -> bytes:
    return header.counted(longest(latents), latents).trailer_bytes()
