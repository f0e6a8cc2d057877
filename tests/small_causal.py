"""A small causal network whose widths all differ, and double precision for proving what is exact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from apcodec_export.network import PUBLISHED_48K, streamable

WIDTHS = {
    "n_fft": 74,
    "win_size": 32,
    "hop_size": 4,
    "ratio": 3,
    "dim": 10,
    "intermediate_dim": 14,
    "num_layers": 2,
    "encoder_amp_channels": 7,
    "encoder_pha_channels": 6,
    "decoder_amp_channels": 7,
    "decoder_pha_channels": 6,
    "amp_down_kernel": 3,
    "pha_down_kernel": 3,
    "latent_dim": 5,
    "num_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
}
"""Of a network. ``n_fft`` is twice a prime: no angle of a lone sample lies on an axis, where rounding would decide."""
SMALL = replace(streamable(PUBLISHED_48K, 0), **WIDTHS, amp_up_kernel=6, pha_up_kernel=6)


@contextmanager
def in_float64() -> Iterator[None]:
    """Whatever is made meanwhile is made in double precision, constants as well."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
