"""Whole ``.apc`` files: written, read, sought in, damaged and salvaged."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.windows import WindowLayout

HEADER, CHUNK, TRAILER = 56, 12, 20
V1 = Path(__file__).with_name("v1.apc")

Codes = NDArray[np.int16]
WriteApc = Callable[..., bytes]


def random_codes(channels: int, latents: int, codebooks: int = 4, bits: int = 10, seed: int = 0) -> Codes:
    """Codes without a pattern that a swap could leave as it was; none of them is 0, which salvaging fills gaps with."""
    return np.random.default_rng(seed).integers(1, 2**bits, (channels, codebooks, latents)).astype(np.int16)


def read(data: bytes, *, salvage: bool = False) -> tuple[Codes, BitstreamReader]:
    """All codes of a file, and its reader."""
    reader = BitstreamReader(io.BytesIO(data), salvage=salvage)
    return np.concatenate(list(reader.chunks()), axis=2), reader


class Pipe(io.RawIOBase):
    """A file that can only be written to."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


class Metered(io.BytesIO):
    """A file that gives at most ``most`` bytes at a time and counts them."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        super().__init__(data)
        self.most = most
        self.given = 0

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(self.most if size is None or size < 0 else min(size, self.most))
        self.given += len(part)
        return part


@pytest.fixture(scope="session")
def small(header: Header) -> Header:
    """Two channels in chunks of 4 latents: 5 bytes per latent and channel, 52 per whole chunk."""
    return replace(header, channels=2, chunk_latents=4)


@pytest.fixture(scope="session")
def codes() -> Codes:
    """Codes for two whole chunks of ``small`` and one of 3 latents."""
    return random_codes(2, 11)


class TestWriting:
    @given(
        cuts=st.lists(st.integers(0, 40), max_size=8),
        latents=st.integers(1, 40),
        chunk=st.integers(1, 45),
        trailer=st.booleans(),
    )
    def test_any_blocks_give_the_same_bytes(
        self, header: Header, write_apc: WriteApc, cuts: list[int], latents: int, chunk: int, trailer: bool
    ) -> None:
        shaped = replace(header, channels=2, chunk_latents=chunk, trailer=trailer)
        codes = random_codes(2, latents)
        file = io.BytesIO()
        writer = BitstreamWriter(file, shaped)
        borders = [0, *sorted(min(cut, latents) for cut in cuts), latents]
        for start, stop in itertools.pairwise(borders):
            writer.write(codes[:, :, start:stop])
        finished = writer.finish(latents * 320 - 1)
        assert file.getvalue() == write_apc(shaped, codes)
        assert len(file.getvalue()) == finished.file_bytes
        np.testing.assert_array_equal(read(file.getvalue())[0], codes)

    def test_a_pipe_gets_what_a_file_gets(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        streamed = replace(small, trailer=True)
        pipe = Pipe()
        writer = BitstreamWriter(cast(BinaryIO, pipe), streamed)
        writer.write(codes)
        writer.finish(11 * 320 - 1)
        assert pipe.data == write_apc(streamed, codes)

    def test_a_trailer_changes_nothing_between_the_ends(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        plain, streamed = write_apc(small, codes), write_apc(replace(small, trailer=True), codes)
        assert streamed[HEADER:-TRAILER] == plain[HEADER:]
        back, reader = read(streamed)
        np.testing.assert_array_equal(back, codes)
        assert reader.header == replace(small, trailer=True, samples=11 * 320 - 1, latents=11)

    def test_the_start_may_be_inside_a_file(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        file = io.BytesIO()
        file.write(b"before")
        writer = BitstreamWriter(file, small)
        writer.write(codes)
        writer.finish(11 * 320 - 1)
        file.write(b"after")
        assert file.getvalue() == b"before" + write_apc(small, codes) + b"after"

    @pytest.mark.parametrize("samples", [11 * 320, 10 * 320 - 1, 1])
    def test_counts_that_contradict_each_other_are_refused(
        self, small: Header, codes: Codes, write_apc: WriteApc, samples: int
    ) -> None:
        with pytest.raises(BitstreamError, match=f"{samples} samples and 11 latents"):
            write_apc(small, codes, samples)

    @pytest.mark.parametrize("trailer", [False, True])
    def test_a_clip_without_samples_is_refused(self, small: Header, write_apc: WriteApc, trailer: bool) -> None:
        with pytest.raises(BitstreamError):
            write_apc(replace(small, trailer=trailer), np.zeros((2, 4, 0), np.int16), 0)

    @pytest.mark.parametrize("code", [-1, 1024, 32767, 32768, 65536, 65541, -65536])
    def test_codes_out_of_range_are_refused(self, header: Header, write_apc: WriteApc, code: int) -> None:
        with pytest.raises(BitstreamError, match="do not fit in 10 bits"):
            write_apc(header, np.full((1, 4, 1), code, np.int64))

    @pytest.mark.parametrize("seconds", [10.0, 13.65, 13.66, 27.31, 60.0, 600.0])
    def test_overhead_is_under_a_hundredth_from_ten_seconds_on(
        self, header: Header, write_apc: WriteApc, seconds: float
    ) -> None:
        samples = round(48000 * seconds)
        latents = samples // 320 + 1
        codes = np.zeros((1, 4, latents), np.int16)
        payload = latents * 4 * 10 / 8
        assert len(write_apc(header, codes, samples)) < 1.01 * payload


class TestReading:
    @given(
        start=st.integers(0, 50),
        length=st.integers(0, 50),
        chunk=st.integers(1, 12),
        trailer=st.booleans(),
    )
    def test_a_seek_is_a_slice_and_reads_no_other_chunk(
        self, header: Header, write_apc: WriteApc, start: int, length: int, chunk: int, trailer: bool
    ) -> None:
        codes = random_codes(1, 50)
        stop = min(start + length, 50)
        data = write_apc(replace(header, chunk_latents=chunk, trailer=trailer), codes)
        file = Metered(data)
        reader = BitstreamReader(file)
        opening = file.given
        parts = list(reader.chunks(start, stop))
        found = np.concatenate(parts, axis=2) if parts else np.zeros((1, 4, 0), np.int16)
        np.testing.assert_array_equal(found, codes[:, :, start:stop])
        touched = {latent // chunk for latent in range(start, stop)}
        sizes = [CHUNK + 5 * len(range(index * chunk, min((index + 1) * chunk, 50))) for index in touched]
        assert opening == HEADER + TRAILER * trailer
        assert file.given - opening == sum(sizes)

    @pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4), (0, 12), (12, 12)])
    def test_latents_that_are_not_there_are_refused(
        self, small: Header, codes: Codes, write_apc: WriteApc, start: int, stop: int
    ) -> None:
        with pytest.raises(BitstreamError, match="the file has 11"):
            list(BitstreamReader(io.BytesIO(write_apc(small, codes))).chunks(start, stop))

    @pytest.mark.parametrize("most", [1, 5, 57])
    def test_short_reads_change_nothing(self, small: Header, codes: Codes, write_apc: WriteApc, most: int) -> None:
        for shaped in (small, replace(small, trailer=True)):
            reader = BitstreamReader(Metered(write_apc(shaped, codes), most))
            np.testing.assert_array_equal(np.concatenate(list(reader.chunks()), axis=2), codes)

    @given(
        channels=st.integers(1, 3),
        codebooks=st.integers(1, 5),
        bits=st.integers(1, 15),
        latents=st.integers(1, 30),
        chunk=st.integers(1, 12),
    )
    def test_every_shape_comes_back(
        self, header: Header, write_apc: WriteApc, channels: int, codebooks: int, bits: int, latents: int, chunk: int
    ) -> None:
        shaped = replace(header, channels=channels, codebooks=codebooks, bits_per_code=bits, chunk_latents=chunk)
        codes = random_codes(channels, latents, codebooks, bits)
        np.testing.assert_array_equal(read(write_apc(shaped, codes))[0], codes)

    @pytest.mark.parametrize("failing", ["header", "chunk"])
    def test_a_disk_that_fails_is_named(self, small: Header, codes: Codes, write_apc: WriteApc, failing: str) -> None:
        class Failing(Metered):
            def read(self, size: int | None = -1) -> bytes:
                if failing == "header" or self.given:
                    raise OSError(5, "Input/output error")
                return super().read(size)

        with pytest.raises(BitstreamError, match=r"reading failed at byte \d+: Input/output error"):
            list(BitstreamReader(Failing(write_apc(small, codes))).chunks())


class TestDamage:
    @pytest.mark.parametrize("trailer", [False, True])
    def test_every_cut_is_noticed(self, small: Header, codes: Codes, write_apc: WriteApc, trailer: bool) -> None:
        data = write_apc(replace(small, trailer=trailer), codes)
        for length in range(len(data)):
            with pytest.raises(BitstreamError):
                read(data[:length])

    @pytest.mark.parametrize("trailer", [False, True])
    def test_every_flipped_bit_is_noticed(
        self, small: Header, codes: Codes, write_apc: WriteApc, trailer: bool
    ) -> None:
        data = write_apc(replace(small, trailer=trailer), codes)
        for position, bit in itertools.product(range(len(data)), range(8)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(BitstreamError):
                read(bytes(damaged))

    def test_a_cut_says_how_much_is_whole(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = write_apc(small, codes)
        with pytest.raises(BitstreamError, match=rf"{len(data) - 1} of {len(data)} bytes, 2 of 3 chunks are whole"):
            read(data[:-1])

    def test_a_damaged_chunk_is_named(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = bytearray(write_apc(small, codes))
        start = HEADER + 52
        data[start + 30] ^= 1
        with pytest.raises(BitstreamError, match=rf"chunk 1 of 3 \(byte {start}\) is damaged"):
            read(bytes(data))

    def test_swapped_chunks_are_noticed(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = write_apc(small, codes)
        first, second = slice(HEADER, HEADER + 52), slice(HEADER + 52, HEADER + 104)
        swapped = data[:HEADER] + data[second] + data[first] + data[HEADER + 104 :]
        with pytest.raises(BitstreamError, match="chunk 0"):
            read(swapped)
        back, reader = read(swapped, salvage=True)
        assert [(gap.start, gap.stop) for gap in reader.gaps] == [(0, 4), (4, 8)]
        np.testing.assert_array_equal(back[:, :, 8:], codes[:, :, 8:])

    @pytest.mark.parametrize("surplus", [b"\0", b"x" * 500])
    def test_appended_bytes_are_noticed(self, small: Header, codes: Codes, write_apc: WriteApc, surplus: bytes) -> None:
        data = write_apc(small, codes)
        with pytest.raises(BitstreamError, match=f"{len(surplus)} bytes follow the last chunk"):
            read(data + surplus)
        np.testing.assert_array_equal(read(data + surplus, salvage=True)[0], codes)

    def test_two_files_in_one_are_noticed(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = write_apc(small, codes)
        with pytest.raises(BitstreamError, match=f"{len(data)} bytes follow"):
            read(data + data)

    @pytest.mark.parametrize("filler", range(4))
    def test_a_set_bit_after_the_codes_is_noticed_behind_a_right_checksum(
        self, header: Header, write_apc: WriteApc, filler: int
    ) -> None:
        data = bytearray(write_apc(replace(header, codebooks=2), random_codes(1, 1, codebooks=2)))
        data[-1] |= 1 << filler
        payload = bytes(data[HEADER + CHUNK :])
        crc = zlib.crc32(struct.pack("<III", 0, 1, len(payload)) + payload)
        data[HEADER + 8 : HEADER + 12] = struct.pack("<I", crc)
        with pytest.raises(BitstreamError, match=r"chunk 0 of 1.*not zero"):
            read(bytes(data))

    @pytest.mark.parametrize("trailer", [False, True])
    @pytest.mark.parametrize("salvage", [False, True])
    def test_huge_declared_sizes_allocate_nothing(self, header: Header, salvage: bool, trailer: bool) -> None:
        latents = 2**32 - 1
        huge = replace(
            header,
            channels=65535,
            codebooks=255,
            bits_per_code=15,
            chunk_latents=1 << 20,
            samples=latents * 320 - 1,
            latents=latents,
            trailer=trailer,
        )
        data = huge.to_bytes() + bytes(1000) + (huge.trailer_bytes() if trailer else b"")
        tracemalloc.start()
        try:
            with pytest.raises(BitstreamError):
                read(data, salvage=salvage)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1 << 20


class TestSalvage:
    def test_a_bad_chunk_becomes_a_gap(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
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

    def test_nothing_is_missing_from_a_whole_file(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        back, reader = read(write_apc(small, codes), salvage=True)
        np.testing.assert_array_equal(back, codes)
        assert reader.gaps == []

    def test_only_the_gaps_that_were_read_are_listed(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = bytearray(write_apc(small, codes))
        data[HEADER + 20] ^= 1
        reader = BitstreamReader(io.BytesIO(bytes(data)), salvage=True)
        np.testing.assert_array_equal(np.concatenate(list(reader.chunks(4, 11)), axis=2), codes[:, :, 4:])
        assert reader.gaps == []
        list(reader.chunks(2, 5))
        assert [(gap.start, gap.stop) for gap in reader.gaps] == [(0, 4)]

    def test_a_cut_file_gives_its_whole_chunks(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
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
    def test_a_missing_trailer_costs_no_code(self, small: Header, write_apc: WriteApc, latents: int, lost: int) -> None:
        codes = random_codes(2, latents)
        data = write_apc(replace(small, trailer=True), codes)
        back, reader = read(data[:-lost], salvage=True)
        np.testing.assert_array_equal(back, codes)
        assert [(gap.start, gap.stop, "trailer" in gap.reason) for gap in reader.gaps] == [(latents, latents, True)]
        assert reader.header.latents == latents

    @pytest.mark.parametrize("latents", [4095, 4096, 4097])
    def test_a_damaged_trailer_costs_no_code_at_the_usual_chunk_size(
        self, header: Header, write_apc: WriteApc, latents: int
    ) -> None:
        codes = random_codes(1, latents)
        data = bytearray(write_apc(replace(header, trailer=True), codes))
        data[-10] ^= 1
        back, reader = read(bytes(data), salvage=True)
        np.testing.assert_array_equal(back, codes)
        assert [(gap.start, gap.stop, "trailer" in gap.reason) for gap in reader.gaps] == [(latents, latents, True)]

    @pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000])
    @pytest.mark.parametrize("trailer", [False, True])
    def test_a_cut_file_of_another_rate_keeps_counts_that_agree(
        self, small: Header, write_apc: WriteApc, rate: int, trailer: bool
    ) -> None:
        codes = random_codes(2, 40)
        data = write_apc(replace(small, sample_rate=rate, trailer=trailer), codes, 39 * 320 * rate // 48000 + 2)
        back, reader = read(data[: HEADER + 7 * 52 + 30], salvage=True)
        np.testing.assert_array_equal(back, codes[:, :, :28])
        seconds = 28 * 320 / 48000
        assert reader.header.samples == pytest.approx(seconds * rate, abs=2)
        assert Header.from_bytes(replace(reader.header, trailer=False).to_bytes()).latents == 28

    def test_a_damaged_header_cannot_be_salvaged(self, small: Header, codes: Codes, write_apc: WriteApc) -> None:
        data = write_apc(small, codes)
        for position in range(HEADER):
            damaged = bytearray(data)
            damaged[position] ^= 1
            with pytest.raises(BitstreamError):
                read(bytes(damaged), salvage=True)


class TestVersion1:
    """A file of version 1 must be read, and written, this way for ever."""

    @pytest.fixture
    def codes(self) -> Codes:
        channel, codebook, latent = np.ogrid[:2, :4, :21]
        codes: Codes = ((channel * 521 + codebook * 131 + latent * 37) % 1024).astype(np.int16)
        return codes

    @pytest.fixture
    def described(self) -> Header:
        return Header(
            fingerprint="0123456789abcdef",
            sample_rate=44100,
            model_rate=48000,
            channels=2,
            samples=6000,
            latents=21,
            codebooks=4,
            bits_per_code=10,
            samples_per_latent=320,
            layout=WindowLayout(core=150, context=10),
            one_dimensional=False,
            chunk_latents=8,
            trailer=False,
        )

    def test_it_is_read(self, codes: Codes, described: Header) -> None:
        back, reader = read(V1.read_bytes())
        assert reader.header == described
        np.testing.assert_array_equal(back, codes)
        assert back[1, :, 20].tolist() == [237, 368, 499, 630]

    def test_it_is_written(self, codes: Codes, described: Header, write_apc: WriteApc) -> None:
        assert write_apc(described.counted(0, 0), codes, 6000) == V1.read_bytes()
