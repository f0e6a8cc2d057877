"""Whatever bytes a ``.apc`` file has, reading it gives codes or a ``BitstreamError``, in bounded memory."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.errors import BitstreamError

HEADER, TRAILER = 56, 20
FIELDS = {
    "version": ("B", 1),
    "bits_per_code": ("B", 10),
    "flags": ("H", 0),
    "fingerprint": ("Q", 0),
    "sample_rate": ("I", 48000),
    "model_rate": ("I", 48000),
    "channels": ("H", 1),
    "samples_per_latent": ("H", 320),
    "codebooks": ("B", 4),
    "reserved": ("B", 0),
    "context": ("H", 10),
    "core": ("I", 150),
    "chunk_latents": ("I", 2048),
    "samples": ("Q", 3200),
    "latents": ("I", 11),
}

Edit = tuple[int, int]


def seal(data: bytearray) -> bytes:
    """Put right every checksum that can be found, so that what lies behind them is reached."""
    if len(data) < HEADER:
        return bytes(data)
    struct.pack_into("<I", data, 52, zlib.crc32(data[:52]))
    end = len(data)
    if data[6] & 1 and end >= HEADER + TRAILER:
        end -= TRAILER
        struct.pack_into("<I", data, end + 16, zlib.crc32(data[end : end + 16]))
    position, index = HEADER, 0
    while position + 12 <= end:
        latents, size = struct.unpack_from("<II", data, position)
        chunk = struct.pack("<III", index, latents, size) + data[position + 12 : position + 12 + size]
        struct.pack_into("<I", data, position + 8, zlib.crc32(chunk))
        position, index = position + 12 + size, index + 1
    return bytes(data)


def mutate(data: bytes, edits: Sequence[Edit], cut: int | None, surplus: bytes, sealed: bool) -> bytes:
    """Change bytes, cut the end off or add to it."""
    changed = bytearray(data)
    for position, value in edits:
        changed[position % len(changed)] = value
    changed = changed[:cut] + surplus
    return seal(changed) if sealed else bytes(changed)


def with_header(numbers: dict[str, int], body: bytes, *, consistent: bool, fitting: bool) -> bytes:
    """A header of given numbers before a body; where wanted, its counts agree, and the body has the declared size."""
    values = {
        name: numbers.get(name, usual) % (1 << 8 * struct.calcsize(code)) for name, (code, usual) in FIELDS.items()
    }
    if consistent and values["sample_rate"] and values["samples_per_latent"]:
        ratio = 2 * values["samples"] * values["model_rate"] + values["sample_rate"]
        model_samples = max(1, ratio // (2 * values["sample_rate"]))
        values["latents"] = (model_samples // values["samples_per_latent"] + 1) % (1 << 32)
    start = b"\x89APC" + b"".join(struct.pack("<" + code, values[name]) for name, (code, _) in FIELDS.items())
    bits = values["channels"] * values["codebooks"] * values["bits_per_code"]
    chunks, left = bytearray(), values["latents"]
    while fitting and left and values["chunk_latents"] and len(chunks) < 4096:
        latents = min(left, values["chunk_latents"])
        size = (latents * bits + 7) // 8
        chunks += struct.pack("<III", latents, size & 0xFFFFFFFF, 0) + body[:8].ljust(min(size, 4096), b"\0")
        left -= latents
    if values["flags"] & 1:
        chunks += b"APC\x89" + struct.pack("<QII", values["samples"], values["latents"], 0)
        start = start[:-12] + bytes(12)
    return seal(bytearray(start + bytes(4) + (chunks if fitting else body)))


def check(data: bytes, *, salvage: bool) -> bool:
    """Read all of a file, with what must hold for any that can be read; whether it could."""
    try:
        reader = BitstreamReader(io.BytesIO(data), salvage=salvage)
        chunks = list(reader.chunks())
    except BitstreamError:
        return False
    header = reader.header
    assert {codes.shape[:2] for codes in chunks} == {(header.channels, header.codebooks)}
    assert sum(codes.shape[2] for codes in chunks) == header.latents > 0 < header.samples
    assert all(codes.dtype == np.int16 for codes in chunks)
    assert min(int(codes.min()) for codes in chunks) >= 0
    assert max(int(codes.max()) for codes in chunks) < 1 << header.bits_per_code
    assert salvage or (not reader.gaps and header.file_bytes == len(data))
    return True


@pytest.fixture(scope="session")
def files(header: Header, write_apc: Callable[..., bytes]) -> list[bytes]:
    """Valid files: one chunk and several, plain and streamed, of whole bytes per latent and of odd bits."""
    shapes = (
        header,
        replace(header, chunk_latents=3, trailer=True, one_dimensional=True),
        replace(header, chunk_latents=4, channels=2, sample_rate=44100),
        replace(header, chunk_latents=5, codebooks=3, bits_per_code=7, sample_rate=8000, trailer=True),
    )
    rng = np.random.default_rng(0)
    made = []
    for shape in shapes:
        codes = rng.integers(0, 1 << shape.bits_per_code, (shape.channels, shape.codebooks, 11))
        made.append(write_apc(shape, codes, 3300 * shape.sample_rate // 48000))
    return made


EDITS = st.lists(st.tuples(st.integers(0, 55) | st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6)
CUTS = st.none() | st.none() | st.integers(0, 300)


def test_the_valid_files_are_valid(files: list[bytes]) -> None:
    assert all(check(data, salvage=salvage) for data in files for salvage in (False, True))
    assert all(seal(bytearray(data)) == data for data in files)


@settings(max_examples=4000)
@given(which=st.integers(0, 3), edits=EDITS, cut=CUTS, surplus=st.binary(max_size=20), salvage=st.booleans())
def test_changed_bytes(
    files: list[bytes], which: int, edits: list[Edit], cut: int | None, surplus: bytes, salvage: bool
) -> None:
    data = mutate(files[which], edits, cut, surplus, sealed=False)
    assert check(data, salvage=salvage) or data != files[which]


@settings(max_examples=10_000)
@given(which=st.integers(0, 3), edits=EDITS, cut=CUTS, surplus=st.binary(max_size=20), salvage=st.booleans())
def test_changed_bytes_behind_right_checksums(
    files: list[bytes], which: int, edits: list[Edit], cut: int | None, surplus: bytes, salvage: bool
) -> None:
    check(mutate(files[which], edits, cut, surplus, sealed=True), salvage=salvage)


@settings(max_examples=4000)
@given(
    numbers=st.dictionaries(
        st.sampled_from(sorted(FIELDS.keys() - {"version", "reserved"})),
        st.integers(0, 20) | st.sampled_from([2**bits - 1 for bits in range(1, 65)]) | st.integers(0, 2**64 - 1),
        max_size=6,
    ),
    body=st.binary(max_size=64),
    consistent=st.booleans(),
    fitting=st.booleans(),
    salvage=st.booleans(),
)
def test_any_header(numbers: dict[str, int], body: bytes, consistent: bool, fitting: bool, salvage: bool) -> None:
    check(with_header(numbers, body, consistent=consistent, fitting=fitting), salvage=salvage)


@settings(max_examples=2000)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"\x89APC", b"\x89APC\x01"]), salvage=st.booleans())
def test_any_bytes(data: bytes, start: bytes, salvage: bool) -> None:
    check(start + data, salvage=salvage)
    check(seal(bytearray(start + data)), salvage=salvage)


def test_memory_stays_bounded_by_the_file(files: list[bytes]) -> None:
    """What thousands of damaged files of under 1 kB declare is never allocated."""
    rng = random.Random(0)

    def cases() -> Any:
        for _ in range(3000):
            edits = [(rng.randrange(56), rng.randrange(256)) for _ in range(rng.randrange(4))]
            yield mutate(rng.choice(files), edits, None, b"", sealed=True)
        for _ in range(3000):
            numbers = {rng.choice(list(FIELDS)): 2 ** rng.randrange(64) - 1 for _ in range(3)}
            yield with_header(numbers, b"\xff" * 16, consistent=True, fitting=False)

    tracemalloc.start()
    try:
        read = [check(data, salvage=salvage) for data in cases() for salvage in (False, True)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert any(read) and not all(read)
    assert peak < 1 << 20
