"""A reader of .apc files that is built from the tables of the guide alone reads what this package writes."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import DOCS, ROOT
from numpy.typing import NDArray

from apcodec_deploy import Codec, EncodedAudio, load
from apcodec_deploy.bitstream.writer import BitstreamWriter, LiveWriter
from apcodec_deploy.streams import StreamLayout

Table = dict[str, tuple[int, int]]
"""Offset and size by name."""


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    """The tables of the page by their headings."""
    text = (DOCS / "format.md").read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", part, re.MULTILINE)
        found[part.split("\n")[0].split(",")[0]] = {name: (int(at), int(size)) for at, size, name in rows}
    return found


def read(data: bytes, table: Table) -> dict[str, Any]:
    return {name: int.from_bytes(data[at : at + size], "little") for name, (at, size) in table.items()}


def decoded(data: bytes, tables: dict[str, Table]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The header's values and the codes (channels, codebooks, latents), by the page."""
    header = read(data, tables["Header"])
    assert data[:4] == bytes.fromhex("89415043")
    assert zlib.crc32(data[:52]) == header["header_crc"]
    assert header["version"] == 1
    if header["flags"] & 1:
        trailer = read(data[-20:], tables["Trailer"])
        assert data[-20:-16] == bytes.fromhex("41504389")
        assert zlib.crc32(data[-20:-4]) == trailer["trailer_crc"]
        header |= {"samples": trailer["trailer_samples"], "latents": trailer["trailer_latents"]}
    place, number, codes = 56, 0, []
    per_latent, bits = header["channels"] * header["codebooks"], header["bits_per_code"]
    while len(codes) < header["latents"] * per_latent:
        chunk = read(data[place : place + 12], tables["Chunk"])
        payload = data[place + 12 : place + 12 + chunk["payload_bytes"]]
        counted = number.to_bytes(4, "little") + data[place : place + 8] + payload
        assert zlib.crc32(counted) == chunk["chunk_crc"]
        stream = int.from_bytes(payload, "big")
        left = 8 * len(payload)
        if header["flags"] & 8:
            marked, chunk["chunk_count"] = divmod(chunk["chunk_count"], 1 << 31)
            assert 0 < chunk["chunk_count"] <= header["chunk_latents"]
            assert marked == (place + 12 + chunk["payload_bytes"] + 20 == len(data))
        for _ in range(chunk["chunk_count"] * per_latent):
            left -= bits
            codes.append(stream >> left & (1 << bits) - 1)
        assert 0 <= left < 8 and stream & (1 << left) - 1 == 0
        place, number = place + 12 + chunk["payload_bytes"], number + 1
    assert place == len(data) - 20 * (header["flags"] & 1)
    shape = (header["latents"], header["channels"], header["codebooks"])
    return header, np.array(codes).reshape(shape).transpose(1, 2, 0)


def agrees(data: bytes, encoded: EncodedAudio, tables: dict[str, Table]) -> None:
    header, codes = decoded(data, tables)
    assert np.array_equal(codes, encoded.codes)
    assert data[8:16].hex() == encoded.header.fingerprint
    assert bool(header["flags"] & 2) == encoded.header.one_dimensional
    for name in ("sample_rate", "model_rate", "samples_per_latent", "chunk_latents", "samples", "latents", "codebooks"):
        assert header[name] == getattr(encoded.header, name), name
    at_model = max(1, round(header["samples"] * header["model_rate"] / header["sample_rate"]))
    layout = encoded.header.layout
    if isinstance(layout, StreamLayout):
        assert header["flags"] & 4 and (header["core"], header["context"]) == (0, layout.delay)
        assert header["latents"] == -(-(at_model + header["context"]) // header["samples_per_latent"])
    else:
        assert not header["flags"] & 4 and (header["core"], header["context"]) == (layout.core, layout.context)
        assert header["latents"] == at_model // header["samples_per_latent"] + 1


def test_the_tables_are_without_gaps(tables: dict[str, Table]) -> None:
    for name, size in (("Header", 56), ("Chunk", 12), ("Trailer", 20)):
        end = 0
        for offset, length in tables[name].values():
            assert offset == end
            end += length
        assert end == size


@pytest.mark.parametrize(("channels", "rate", "seconds"), [(1, 48_000, 0.3), (2, 44_100, 0.25), (3, 8_000, 1.1)])
def test_the_reader_reads_what_is_saved(
    channels: int, rate: int, seconds: float, codec: Codec, tables: dict[str, Table], tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).normal(size=(channels, int(rate * seconds))).astype(np.float32) / 8
    encoded = codec.encode(noise[0] if channels == 1 else noise, sample_rate=rate)
    encoded.save(tmp_path / "a.apc")
    agrees((tmp_path / "a.apc").read_bytes(), encoded, tables)


def test_the_reader_reads_the_stored_file_of_version_1(tables: dict[str, Table]) -> None:
    file = ROOT / "tests" / "deploy" / "bitstream" / "v1.apc"
    agrees(file.read_bytes(), EncodedAudio.load(file), tables)


@pytest.mark.parametrize("trailer", [False, True])
def test_the_reader_reads_streams_and_several_chunks(
    trailer: bool, codec: Codec, tables: dict[str, Table], tmp_path: Path
) -> None:
    encoded = codec.encode(np.zeros(48_000, np.float32), sample_rate=48_000)
    file = tmp_path / "a.apc"
    with file.open("wb") as target:
        writer = BitstreamWriter(target, replace(encoded.header, chunk_latents=40, trailer=trailer))
        writer.write(encoded.codes)
        writer.finish(encoded.samples)
    agrees(file.read_bytes(), EncodedAudio.load(file), tables)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (22_050, 2)])
def test_the_reader_reads_live_streams(
    rate: int, channels: int, streamable_bundle: Path, tables: dict[str, Table], tmp_path: Path
) -> None:
    noise = np.random.default_rng(2).normal(size=(channels, rate // 3)).astype(np.float32) / 8
    with load(streamable_bundle) as codec:
        encoded = codec.encode(noise, sample_rate=rate)
    header = replace(encoded.header, trailer=True, live=True, chunk_latents=7)
    file = tmp_path / "a.apc"
    with file.open("wb") as target:
        writer = LiveWriter(target, header)
        for start, stop in ((0, 1), (1, 4), (4, 20)):
            writer.write(encoded.codes[:, :, start:stop])
        writer.finish(encoded.codes[:, :, 20:], encoded.samples)
    data = file.read_bytes()
    agrees(data, replace(encoded, header=header), tables)
    assert data[6] == 13
