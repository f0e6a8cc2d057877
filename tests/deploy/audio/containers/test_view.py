"""Pieces of a source, shown as one file."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.audio.containers.source import FileSource, PipeSource, Source, holds
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.errors import AudioError

DATA = bytes(range(256)) * 40


def piped(data: bytes, step: int) -> tuple[int, threading.Thread]:
    """A pipe through which bytes come in steps."""
    read, write = os.pipe()

    def feed() -> None:
        for start in range(0, len(data), step):
            os.write(write, data[start : start + step])
        os.close(write)

    feeder = threading.Thread(target=feed)
    feeder.start()
    return read, feeder


def taken(view: View, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: view.readinto(memoryview(buffer))])


@given(
    pieces=st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 900)), min_size=1, max_size=6),
    head=st.binary(max_size=20),
    drained=st.booleans(),
    reads=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 500)), max_size=8),
)
def test_it_reads_as_the_pieces_joined(
    pieces: list[tuple[int, int]], head: bytes, drained: bool, reads: list[tuple[int, int]]
) -> None:
    joined = head + b"".join(DATA[at : at + size] for at, size in pieces)
    view = View(FileSource(io.BytesIO(DATA)), iter(pieces), head=head)
    if drained:
        view.drain()
        assert view.seek(0, os.SEEK_END) == len(joined)
    for at, size in reads:
        view.seek(at)
        assert taken(view, size) == joined[at : at + size]
        assert view.tell() == at + len(joined[at : at + size])


@pytest.mark.parametrize("step", [1, 777, 1 << 16])
def test_a_pipe_gives_the_same_bytes_as_a_file(step: int) -> None:
    descriptor, feeder = piped(DATA, step)
    sources: tuple[Source, ...] = (FileSource(io.BytesIO(DATA)), PipeSource(descriptor))
    for at, size in ((0, 4), (100, 3000), (50, 10), (len(DATA) - 3, 10), (len(DATA), 1)):
        for source in sources:
            assert source.read(at, size) == DATA[at : at + size]
            assert holds(source, at + size - 1) == (at + size <= len(DATA))
    feeder.join()
    os.close(descriptor)


def test_a_pipe_forgets_what_has_long_passed() -> None:
    data = os.urandom(5 << 20)
    descriptor, feeder = piped(data, 1 << 16)
    source = PipeSource(descriptor)
    for at in range(0, len(data), 4096):
        assert source.read(at, 4096) == data[at : at + 4096]
    assert source.read(len(data) - (1 << 20), 10) == data[-(1 << 20) :][:10]
    with pytest.raises(AudioError, match="save it to a file first"):
        source.read(0, 10)
    feeder.join()
    os.close(descriptor)


def test_an_error_is_kept_for_who_reads() -> None:
    """A call from libsndfile lets no exception through."""

    def failing() -> Iterator[tuple[int, int]]:
        yield 0, 10
        raise KeyboardInterrupt

    view = View(FileSource(io.BytesIO(DATA)), failing())
    assert taken(view, 20) == DATA[:10]
    assert isinstance(view.failure, KeyboardInterrupt)
    assert taken(view, 20) == b""


def test_its_end_is_far_as_long_as_it_is_not_known() -> None:
    view = View(FileSource(io.BytesIO(DATA)), iter([(0, 10)]))
    view.tail = b"the end"
    end = view.seek(0, os.SEEK_END)
    assert end > 1 << 45
    view.seek(-7, os.SEEK_END)
    assert taken(view, 100) == b"the end"
    view.drain()
    assert view.seek(0, os.SEEK_END) == 10
