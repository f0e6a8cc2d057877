"""What the tests of the bitstream share: a header to start from, and files made with it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from apc_files import Codes, WriteApc, random_codes
from live_streams import DELAY, PUSHES, sent
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.writer import BitstreamWriter, LiveWriter
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout


@pytest.fixture(scope="session")
def header() -> Header:
    """A mono clip at 48 kHz and 6 kbps whose counts are not known yet."""
    return Header(
        fingerprint="0123456789abcdef",
        sample_rate=48000,
        model_rate=48000,
        channels=1,
        samples=0,
        latents=0,
        codebooks=4,
        bits_per_code=10,
        samples_per_latent=320,
        layout=WindowLayout(core=150, context=10),
        one_dimensional=False,
    )


@pytest.fixture(scope="session")
def write_apc() -> WriteApc:
    """Write codes (C, Q, n) as the longest clip that has so many latents, where no ``samples`` are given."""

    def write(header: Header, codes: NDArray[np.integer], samples: int | None = None) -> bytes:
        file = io.BytesIO()
        longest = header.layout.longest(codes.shape[2], header.samples_per_latent) if samples is None else samples
        if header.live:
            return _live(file, header, codes, longest, [2] * codes.shape[2])
        writer = BitstreamWriter(file, header)
        writer.write(codes)
        writer.finish(longest)
        return file.getvalue()

    return write


def _live(file: io.BytesIO, header: Header, codes: NDArray[np.integer], samples: int, pushes: Sequence[int]) -> bytes:
    """Write codes in pushes of so many latents until none are left, of which the last push ends the clip."""
    writer = LiveWriter(file, header)
    start = 0
    for latents in pushes:
        if start + latents >= codes.shape[2]:
            break
        writer.write(codes[:, :, start : start + latents])
        start += latents
    writer.finish(codes[:, :, start:], samples)
    return file.getvalue()


@pytest.fixture(scope="session")
def small(header: Header) -> Header:
    """Two channels in chunks of 4 latents: 5 bytes per latent and channel, 52 per whole chunk."""
    return replace(header, channels=2, chunk_latents=4)


@pytest.fixture(scope="session")
def codes() -> Codes:
    """Codes for two whole chunks of ``small`` and one of 3 latents."""
    return random_codes(2, 11)


@pytest.fixture(scope="session")
def live(header: Header) -> Header:
    """Two channels, at most 6 latents a chunk."""
    return replace(header, channels=2, chunk_latents=6, layout=StreamLayout(DELAY), trailer=True, live=True)


@pytest.fixture(scope="session")
def live_codes() -> Codes:
    return random_codes(2, sum(PUSHES))


@pytest.fixture(scope="session")
def messages(live: Header, live_codes: Codes) -> list[bytes]:
    return sent(live, live_codes, PUSHES)
