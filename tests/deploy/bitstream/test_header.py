"""The header and the trailer against their documented layout, packed by hand."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.bitstream.header import HEADER_BYTES, TRAILER_BYTES, Header
from apcodec_deploy.bitstream.index import fixed_bytes
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout

FIELDS: dict[str, tuple[str, Any]] = {
    "magic": ("4s", b"\x89APC"),
    "version": ("B", 1),
    "bits_per_code": ("B", 10),
    "flags": ("H", 0),
    "fingerprint": ("8s", bytes.fromhex("0123456789abcdef")),
    "sample_rate": ("I", 44100),
    "model_rate": ("I", 48000),
    "channels": ("H", 2),
    "samples_per_latent": ("H", 320),
    "codebooks": ("B", 4),
    "reserved": ("B", 0),
    "context": ("H", 10),
    "core": ("I", 150),
    "chunk_latents": ("I", 2048),
    "samples": ("Q", 441000),
    "latents": ("I", 1501),
}
"""The documented layout, with the values of ten seconds of stereo at 44.1 kHz."""


def by_hand(**changes: Any) -> bytes:
    """A header with a checksum that is right, whatever else is not."""
    assert changes.keys() <= FIELDS.keys()
    body = b"".join(struct.pack("<" + code, changes.get(name, value)) for name, (code, value) in FIELDS.items())
    return body + struct.pack("<I", zlib.crc32(body))


def trailer_by_hand(samples: int, latents: int, magic: bytes = b"APC\x89") -> bytes:
    """A trailer with a right checksum."""
    body = magic + struct.pack("<QI", samples, latents)
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.fixture
def stereo(header: Header) -> Header:
    """The header that ``by_hand`` packs."""
    return replace(header, sample_rate=44100, channels=2, samples=441000, latents=1501)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any possible header of a clip whose counts are known."""
    sample_rate, model_rate = draw(st.integers(1000, 768000)), draw(st.integers(1000, 768000))
    unit = draw(st.integers(1, 65535))
    samples = draw(st.integers(1, 2**20))
    at_model_rate = max(1, floor(Fraction(samples * model_rate, sample_rate) + Fraction(1, 2)))
    channels = draw(st.integers(1, 65535))
    core = draw(st.integers(0, 2**32 - 1))
    windows = WindowLayout(core, draw(st.integers(1, 65535))) if core else WindowLayout(0, 0)
    layout = draw(st.just(windows) | st.builds(StreamLayout, st.integers(0, 65535)))
    stream = isinstance(layout, StreamLayout)
    return Header(
        fingerprint=draw(st.binary(min_size=8, max_size=8)).hex(),
        sample_rate=sample_rate,
        model_rate=model_rate,
        channels=channels,
        samples=samples,
        latents=-(-(at_model_rate + layout.delay) // unit) if stream else at_model_rate // unit + 1,
        codebooks=draw(st.integers(1, 255)),
        bits_per_code=draw(st.integers(1, 15)),
        samples_per_latent=unit,
        layout=layout,
        one_dimensional=channels == 1 and draw(st.booleans()),
        chunk_latents=draw(st.integers(1, 2**20)),
        trailer=(trailer := draw(st.booleans())),
        live=stream and layout.delay > 0 and trailer and draw(st.booleans()),
    )


@given(header=headers())
def test_round_trip(header: Header) -> None:
    back = Header.from_bytes(header.to_bytes())
    if header.trailer:
        assert not back.complete
        back = back.with_trailer(header.trailer_bytes())
    assert back == header


def test_is_packed_as_documented(stereo: Header) -> None:
    assert stereo.to_bytes() == by_hand()
    assert len(by_hand()) == HEADER_BYTES == 56


def test_the_layout_is_read_as_documented(stereo: Header) -> None:
    assert Header.from_bytes(by_hand()) == stereo
    assert Header.from_bytes(by_hand() + b"more") == stereo


def test_flags_are_packed_as_documented(header: Header) -> None:
    mono = replace(header, sample_rate=44100, one_dimensional=True, samples=441000, latents=1501)
    assert mono.to_bytes() == by_hand(channels=1, flags=2)
    assert replace(mono, trailer=True).to_bytes() == by_hand(channels=1, flags=3, samples=0, latents=0)


def test_a_stream_is_packed_as_documented(header: Header) -> None:
    stream = replace(header, sample_rate=44100, channels=2, samples=441000, latents=1501, layout=StreamLayout(280))
    assert stream.to_bytes() == by_hand(flags=4, context=280, core=0)
    with pytest.raises(BitstreamError, match="one stream, and windows of 7 latents"):
        Header.from_bytes(by_hand(flags=4, core=7))
    with pytest.raises(BitstreamError, match="441000 samples and 1501 latents; they need 1500"):
        replace(stream, layout=StreamLayout(0))


def test_a_live_stream_is_packed_as_documented(header: Header) -> None:
    live = replace(header, sample_rate=44100, channels=2, layout=StreamLayout(280), trailer=True, live=True)
    assert live.to_bytes() == by_hand(flags=13, context=280, core=0, samples=0, latents=0)
    assert Header.from_bytes(live.to_bytes()) == live


@pytest.mark.parametrize(("flags", "context"), [(8, 280), (9, 280), (12, 280), (13, 0)])
def test_live_codes_are_a_stream_with_a_delay_and_a_trailer(flags: int, context: int) -> None:
    counts = {"samples": 0, "latents": 0} if flags & 1 else {"latents": 1501 - (flags == 12)}
    with pytest.raises(BitstreamError, match="the header says live codes, but no trailer or no stream with a delay"):
        Header.from_bytes(by_hand(flags=flags, context=context, core=0, **counts))


def test_the_trailer_is_packed_as_documented(stereo: Header) -> None:
    assert replace(stereo, trailer=True).trailer_bytes() == trailer_by_hand(441000, 1501)
    assert len(trailer_by_hand(441000, 1501)) == TRAILER_BYTES == 20


def test_the_trailer_completes_the_header(stereo: Header) -> None:
    streamed = Header.from_bytes(by_hand(flags=1, samples=0, latents=0))
    assert streamed.with_trailer(trailer_by_hand(441000, 1501)) == replace(stereo, trailer=True)


@pytest.mark.parametrize("start", [b"", b"\x89AP", b"RIFF", b"\x89PNG\r\n\x1a\n", b"APC\x89"])
def test_another_file_is_refused(start: bytes) -> None:
    with pytest.raises(BitstreamError, match=r"not a \.apc file"):
        Header.from_bytes(start.ljust(56, b"\0") if start else b"")


@pytest.mark.parametrize("length", range(4, 56))
def test_a_cut_header_is_refused(length: int) -> None:
    with pytest.raises(BitstreamError, match=f"after {length} of 56 bytes"):
        Header.from_bytes(by_hand()[:length])


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused_even_if_its_header_is_checked_differently(version: int) -> None:
    with pytest.raises(BitstreamError, match=f"version {version} of the format"):
        Header.from_bytes(by_hand(version=version)[:52] + b"1234")


@pytest.mark.parametrize("flags", [0x10, 0x20, 0x100, 0x8000])
def test_an_unknown_flag_is_refused(flags: int) -> None:
    with pytest.raises(BitstreamError, match="unknown flags"):
        Header.from_bytes(by_hand(flags=flags))


def test_a_reserved_byte_in_use_is_refused() -> None:
    with pytest.raises(BitstreamError, match="unknown flags"):
        Header.from_bytes(by_hand(reserved=1))


@pytest.mark.parametrize("position", range(5, 56))
def test_a_changed_byte_breaks_the_checksum(position: int) -> None:
    data = bytearray(by_hand())
    data[position] ^= 0x10
    with pytest.raises(BitstreamError, match="checksum"):
        Header.from_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 0),
        ("sample_rate", 999),
        ("sample_rate", 768001),
        ("sample_rate", 2**32 - 1),
        ("model_rate", 0),
        ("model_rate", 768001),
        ("channels", 0),
        ("codebooks", 0),
        ("bits_per_code", 0),
        ("bits_per_code", 16),
        ("bits_per_code", 255),
        ("samples_per_latent", 0),
        ("chunk_latents", 0),
        ("chunk_latents", 2**20 + 1),
        ("samples", 2**62),
        ("samples", 2**64 - 1),
    ],
)
def test_an_impossible_number_is_named(name: str, value: int) -> None:
    with pytest.raises(BitstreamError, match=f"{name} = {value};"):
        Header.from_bytes(by_hand(**{name: value}))


def test_stereo_is_not_one_dimensional() -> None:
    with pytest.raises(BitstreamError, match="one-dimensional"):
        Header.from_bytes(by_hand(flags=2))


@pytest.mark.parametrize("latents", [1, 1500, 1502, 2**32 - 1])
def test_latents_that_do_not_match_the_samples_are_refused(latents: int) -> None:
    with pytest.raises(BitstreamError, match=f"441000 samples and {latents} latents; they need 1501"):
        Header.from_bytes(by_hand(latents=latents))


@pytest.mark.parametrize("counts", [{"samples": 0}, {"latents": 0}, {"samples": 0, "latents": 0}])
def test_missing_counts_without_a_trailer_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(BitstreamError, match="without a trailer"):
        Header.from_bytes(by_hand(**counts))


@pytest.mark.parametrize("counts", [{}, {"samples": 0}, {"latents": 0}])
def test_counts_beside_a_trailer_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(BitstreamError, match="beside a trailer"):
        Header.from_bytes(by_hand(flags=1, **counts))


@pytest.mark.parametrize("core", [1, 150])
def test_windows_without_a_context_to_fade_over_are_refused(core: int) -> None:
    with pytest.raises(BitstreamError, match="context"):
        Header.from_bytes(by_hand(core=core, context=0))


def test_a_damaged_trailer_is_refused(header: Header) -> None:
    streamed = replace(header, trailer=True)
    whole = trailer_by_hand(320, 2)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(BitstreamError, match="missing or damaged"):
            streamed.with_trailer(bytes(damaged))


def test_a_foreign_trailer_is_refused(header: Header) -> None:
    with pytest.raises(BitstreamError, match="missing or damaged"):
        replace(header, trailer=True).with_trailer(trailer_by_hand(320, 2, magic=b"\x89APC"))


@pytest.mark.parametrize(("samples", "latents"), [(0, 0), (0, 2), (320, 0)])
def test_a_trailer_that_counts_nothing_is_refused(header: Header, samples: int, latents: int) -> None:
    with pytest.raises(BitstreamError, match="counts no samples"):
        replace(header, trailer=True).with_trailer(trailer_by_hand(samples, latents))


@pytest.mark.parametrize(("samples", "latents"), [(320, 1), (319, 2), (2**62, 2)])
def test_a_trailer_that_contradicts_itself_is_refused(header: Header, samples: int, latents: int) -> None:
    with pytest.raises(BitstreamError, match="the header says"):
        replace(header, trailer=True).with_trailer(trailer_by_hand(samples, latents))


@given(header=headers())
def test_the_size_of_a_file_adds_up(header: Header) -> None:
    """The arithmetic of seeking: whole chunks, what is left, and the parts around them."""
    bits = header.channels * header.codebooks * header.bits_per_code
    full, rest = divmod(header.latents, header.chunk_latents)
    expected = 56 + full * (12 + (header.chunk_latents * bits + 7) // 8)
    if rest:
        expected += 12 + (rest * bits + 7) // 8
    assert fixed_bytes(header) == expected + 20 * header.trailer
