"""Packing against strings of binary digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from apcodec_deploy.bitstream.packing import pack, packed_bytes, unpack
from apcodec_deploy.errors import BitstreamError

WIDTHS = range(1, 16)


def brute_force(codes: NDArray[Any], bits: int) -> bytes:
    """Pack digit by digit: latent by latent, channel by channel, codebook by codebook."""
    channels, codebooks, latents = codes.shape
    digits = "".join(
        format(int(codes[channel, codebook, latent]), f"0{bits}b")
        for latent in range(latents)
        for channel in range(channels)
        for codebook in range(codebooks)
    )
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[start : start + 8], 2) for start in range(0, len(digits), 8))


@st.composite
def packable(draw: st.DrawFn) -> tuple[NDArray[np.int16], int]:
    """Codes (C, Q, n) and their width; a latent takes a byte or more, so that the filling holds no further one."""
    bits = draw(st.integers(1, 15))
    channels = draw(st.integers(1, 3))
    codebooks = draw(st.integers(-(-8 // (bits * channels)), 9))
    shape = (channels, codebooks, draw(st.integers(0, 12)))
    return draw(hnp.arrays(np.int16, shape, elements=st.integers(0, 2**bits - 1))), bits


def test_known_bytes() -> None:
    codes = np.array([1, 2, 3, 1023], np.int16).reshape(1, 4, 1)
    assert pack(codes, 10) == bytes.fromhex("00 40 20 0f ff")


def test_latents_come_first_then_channels_then_codebooks() -> None:
    codes = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    assert pack(codes, 8) == bytes([0, 2, 4, 6, 1, 3, 5, 7])


@given(case=packable())
def test_packs_like_a_string_of_digits(case: tuple[NDArray[np.int16], int]) -> None:
    codes, bits = case
    assert pack(codes, bits) == brute_force(codes, bits)


@given(case=packable())
def test_unpacks_what_was_packed_by_hand(case: tuple[NDArray[np.int16], int]) -> None:
    codes, bits = case
    back = unpack(brute_force(codes, bits), codes.shape[0], codes.shape[1], bits)
    assert back.dtype == np.int16
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("bits", WIDTHS)
def test_every_width_keeps_its_extremes(bits: int) -> None:
    codes = np.tile(np.array([0, 2**bits - 1], np.int16), (2, 5, 7))
    data = pack(codes, bits)
    assert data == brute_force(codes, bits)
    np.testing.assert_array_equal(unpack(data, 2, 5, bits), codes)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_any_integer_type_packs_alike(dtype: type[np.integer[Any]]) -> None:
    codes = np.arange(1024).reshape(2, 4, 128)
    assert pack(codes.astype(dtype), 10) == brute_force(codes, 10)


def test_a_view_packs_as_its_copy() -> None:
    codes = np.arange(240, dtype=np.int16).reshape(2, 4, 30)[:, ::-1, 3:17:2]
    assert pack(codes, 10) == pack(codes.copy(), 10)


@pytest.mark.parametrize("latents", [1, 2, 3, 1501, 2048])
def test_four_codebooks_of_ten_bits_take_five_bytes_per_latent(latents: int) -> None:
    codes = np.random.default_rng(latents).integers(0, 1024, (1, 4, latents))
    assert len(pack(codes, 10)) == packed_bytes(4 * latents, 10) == 5 * latents


@given(latents=st.integers(0, 400), codebooks=st.integers(1, 9), bits=st.integers(1, 15))
def test_only_the_last_byte_is_filled_up(latents: int, codebooks: int, bits: int) -> None:
    data = pack(np.zeros((1, codebooks, latents), np.int16), bits)
    assert 0 <= len(data) * 8 - latents * codebooks * bits < 8
    assert len(data) == packed_bytes(latents * codebooks, bits)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("excess", [-1, 0, 7])
def test_codes_out_of_range_are_refused(bits: int, excess: int) -> None:
    code = -1 if excess < 0 else 2**bits + excess
    codes = np.zeros((1, 2, 3), np.int32)
    codes[0, 1, 2] = code
    with pytest.raises(BitstreamError, match=rf"{code}.*do not fit in {bits} bits"):
        pack(codes, bits)


@pytest.mark.parametrize("filler", range(4))
def test_any_bit_set_in_the_filling_is_refused(filler: int) -> None:
    data = bytearray(brute_force(np.full((1, 2, 3), 5), 10))
    data[-1] |= 1 << filler
    with pytest.raises(BitstreamError, match="after the last code"):
        unpack(bytes(data), 1, 2, 10)
