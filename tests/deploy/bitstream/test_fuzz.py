"""Whatever bytes a ``.apc`` file has, reading it gives codes or a ``BitstreamError``, in bounded memory."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.index import fixed_bytes
from apcodec_deploy.bitstream.parser import Arrival, StreamParser
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.streams import StreamLayout

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


def damage(files: Sequence[bytes], script: bytes) -> bytes:
    """Damage one of the files as a script says: cut it, add to it, then change bytes, mostly in its header.

    Behind a script that starts with an odd byte, the checksums are right.
    """
    which, end, surplus = script[0] // 2, script[1], script[2]
    data = bytearray(files[which % len(files)])
    if end % 2:
        del data[end * len(data) // 256 :]
    if surplus % 4 == 0:
        data += script * (surplus // 64)
    for position, value in zip(script[3::2], script[4::2], strict=False):
        # Not the magic, before which nothing else is looked at.
        if len(data) > 4:
            data[4 + (position % 52 if value % 2 else position) % (len(data) - 4)] = value
    return seal(data) if script[0] % 2 else bytes(data)


def invent(script: bytes) -> bytes:
    """Make a header of numbers near the usual ones or anywhere, and chunks that fit it, as a script says."""
    values = {name: usual for name, (_, usual) in FIELDS.items()}
    names = list(FIELDS)
    for name, shift, factor in zip(script[2::3], script[3::3], script[4::3], strict=False):
        code, _ = FIELDS[names[name % len(names)]]
        values[names[name % len(names)]] = (factor << shift % 64) % (1 << 8 * struct.calcsize(code))
    values["flags"] %= 16
    if script[0] % 4 and values["sample_rate"] and values["samples_per_latent"]:
        model_samples = (2 * values["samples"] * values["model_rate"] + values["sample_rate"]) // (
            2 * values["sample_rate"]
        )
        values["latents"] = (max(1, model_samples) // values["samples_per_latent"] + 1) % (1 << 32)
    start = b"\x89APC" + b"".join(struct.pack("<" + code, values[name]) for name, (code, _) in FIELDS.items())
    bits = values["channels"] * values["codebooks"] * values["bits_per_code"]
    chunks, left = bytearray(), values["latents"]
    while left and values["chunk_latents"] and len(chunks) < 2048:
        latents = min(left, values["chunk_latents"])
        size = (latents * bits + 7) // 8
        chunks += struct.pack("<III", latents, size % (1 << 32), 0) + (script[-1:] * min(size - 1, 2048)) + b"\0"
        left -= latents
    if values["flags"] & 1:
        chunks += b"APC\x89" + struct.pack("<QII", values["samples"], values["latents"], 0)
        start = start[:-12] + bytes(12)
    return seal(bytearray(start + bytes(4) + chunks))


def parsed(data: bytes, *, salvage: bool) -> list[Arrival]:
    """What comes of a stream in pieces of 100 bytes."""
    parser = StreamParser(salvage=salvage)
    fed = [arrival for at in range(0, len(data), 100) for arrival in parser.feed(data[at : at + 100])]
    return [*fed, *parser.close()]


def check(data: bytes, *, salvage: bool) -> bool:
    """Read all of a file, with what must hold for any that can be read; whether it could."""
    try:
        arrivals = parsed(data, salvage=salvage)
    except BitstreamError:
        arrivals = []
    try:
        reader = BitstreamReader(io.BytesIO(data), salvage=salvage)
        chunks = list(reader.chunks())
    except BitstreamError:
        assert salvage or not arrivals
        return False
    if not salvage or reader.header.live:
        assert arrivals[-1].samples == reader.header.samples
        codes = np.concatenate([arrival.codes for arrival in arrivals], axis=2)
        assert np.array_equal(codes, np.concatenate(chunks, axis=2))
    header = reader.header
    assert {codes.shape[:2] for codes in chunks} == {(header.channels, header.codebooks)}
    assert sum(codes.shape[2] for codes in chunks) == header.latents > 0 < header.samples
    assert all(codes.dtype == np.int16 for codes in chunks)
    assert min(int(codes.min()) for codes in chunks) >= 0
    assert max(int(codes.max()) for codes in chunks) < 1 << header.bits_per_code
    assert salvage or not reader.gaps
    assert salvage or header.live or fixed_bytes(header) == len(data)
    return True


@pytest.fixture(scope="session")
def files(header: Header, write_apc: Callable[..., bytes]) -> list[bytes]:
    """Valid files: one chunk and several, plain and streamed, of whole bytes per latent and of odd bits."""
    shapes = (
        header,
        replace(header, chunk_latents=3, trailer=True, one_dimensional=True),
        replace(header, chunk_latents=4, channels=2, sample_rate=44100),
        replace(header, chunk_latents=5, codebooks=3, bits_per_code=7, sample_rate=8000, trailer=True),
        replace(header, chunk_latents=4, layout=StreamLayout(280), trailer=True),
        replace(header, chunk_latents=6, layout=StreamLayout(280), trailer=True, live=True),
    )
    rng = np.random.default_rng(0)
    made = []
    for shape in shapes:
        codes = rng.integers(0, 1 << shape.bits_per_code, (shape.channels, shape.codebooks, 11))
        made.append(write_apc(shape, codes, 3240 * shape.sample_rate // 48000))
    return made


def test_the_valid_files_are_valid(files: list[bytes]) -> None:
    assert all(check(data, salvage=salvage) for data in files for salvage in (False, True))
    assert all(seal(bytearray(data)) == data for data in files)


@settings(max_examples=1000)
@given(script=st.binary(min_size=3, max_size=12), salvage=st.booleans())
def test_a_damaged_file(files: list[bytes], script: bytes, salvage: bool) -> None:
    check(damage(files, script), salvage=salvage)


@settings(max_examples=1000)
@given(script=st.binary(min_size=2, max_size=14), salvage=st.booleans())
def test_an_invented_header(script: bytes, salvage: bool) -> None:
    check(invent(script), salvage=salvage)


@settings(max_examples=500)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"\x89APC", b"\x89APC\x01"]), salvage=st.booleans())
def test_any_bytes(data: bytes, start: bytes, salvage: bool) -> None:
    check(start + data, salvage=salvage)
    check(seal(bytearray(start + data)), salvage=salvage)


@pytest.mark.slow
@pytest.mark.parametrize("invented", [False, True])
def test_twenty_thousand_more(files: list[bytes], invented: bool) -> None:
    """The same without hypothesis, which takes most of the time above."""
    rng = random.Random(1)
    for _ in range(20_000):
        script = rng.randbytes(rng.randrange(3, 13))
        try:
            check(invent(script) if invented else damage(files, script), salvage=rng.random() < 0.5)
        except BaseException as error:
            error.add_note(f"script: {script.hex()}")
            raise


@pytest.mark.slow
def test_memory_stays_bounded_by_the_file(files: list[bytes]) -> None:
    """What thousands of damaged files of a few kB declare is never allocated."""
    rng = random.Random(0)
    cases = [damage(files, rng.randbytes(9)) for _ in range(2000)] + [invent(rng.randbytes(11)) for _ in range(2000)]
    tracemalloc.start()
    try:
        read = [check(data, salvage=salvage) for data in cases for salvage in (False, True)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert any(read) and not all(read)
    assert peak < 2 << 20
