"""Codes to bits and back. Nothing here ever touches a float."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import BitstreamError

_WIDTH = 16
"""Bits of the integer that a code passes through; no code is wider (``codebook_size`` is at most 32768)."""


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take."""
    return (count * bits + 7) // 8


def check_range(codes: NDArray[np.integer], bits: int) -> None:
    """Refuse codes that do not fit in so many bits."""
    if codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
        raise BitstreamError(f"codes from {codes.min()} to {codes.max()} do not fit in {bits} bits")


def pack(codes: NDArray[np.integer], bits: int) -> bytes:
    """Pack codes, most significant bit first, the last byte filled up with zeros.

    Args:
        codes: (C, Q, n) codes; they are written latent by latent, channel by channel, codebook by codebook.
        bits: Bits per code.

    Raises:
        BitstreamError: A code does not fit.
    """
    check_range(codes, bits)
    ordered = np.ascontiguousarray(codes.transpose(2, 0, 1)).astype(">u2")
    each = np.unpackbits(ordered.reshape(-1, 1).view(np.uint8), axis=1)
    return np.packbits(each[:, _WIDTH - bits :]).tobytes()


def unpack(data: bytes, channels: int, codebooks: int, bits: int) -> NDArray[np.int16]:
    """Undo ``pack``: (C, Q, n) int16 with as many whole latents as ``data`` holds.

    Raises:
        BitstreamError: The filling of the last byte is not zero.
    """
    per_latent = channels * codebooks
    latents = len(data) * 8 // (per_latent * bits)
    stream = np.unpackbits(np.frombuffer(data, np.uint8))
    used = latents * per_latent * bits
    if stream[used:].any():
        raise BitstreamError("the bits after the last code are not zero")
    each = np.zeros((latents * per_latent, _WIDTH), np.uint8)
    each[:, _WIDTH - bits :] = stream[:used].reshape(-1, bits)
    values = np.packbits(each, axis=1).view(">u2").astype(np.int16)
    return np.ascontiguousarray(values.reshape(latents, channels, codebooks).transpose(1, 2, 0))
