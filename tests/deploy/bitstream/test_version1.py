"""A file of version 1 must be read, and written, this way for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from apc_files import Codes, WriteApc, read

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.windows import WindowLayout

V1 = Path(__file__).with_name("v1.apc")


@pytest.fixture
def codes() -> Codes:
    channel, codebook, latent = np.ogrid[:2, :4, :21]
    codes: Codes = ((channel * 521 + codebook * 131 + latent * 37) % 1024).astype(np.int16)
    return codes


@pytest.fixture
def described() -> Header:
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


def test_it_is_read(codes: Codes, described: Header) -> None:
    back, reader = read(V1.read_bytes())
    assert reader.header == described
    np.testing.assert_array_equal(back, codes)
    assert back[1, :, 20].tolist() == [237, 368, 499, 630]


def test_it_is_written(codes: Codes, described: Header, write_apc: WriteApc) -> None:
    assert write_apc(described.counted(0, 0), codes, 6000) == V1.read_bytes()
