"""Checkpoints that tests export, and the bundles that they make of them; ``exported`` in conftest shares these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from made_once import Make

from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_export.deployed.precision import INTEGER
from apcodec_export.exporting import export_bundle
from apcodec_export.forms import form_of
from apcodec_export.model.layers import GlobalResponseNorm
from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable

_GOLDEN = Path(__file__).parent / "golden"
GRN, LAYERSCALE = _GOLDEN / "apcodec_48k_grn_tiny", _GOLDEN / "apcodec_16k_layerscale_tiny"
UNPUBLISHED = NetworkConfig(
    block="layer_scale",
    projections=True,
    sample_rate=24000,
    n_fft=256,
    win_size=120,
    hop_size=32,
    ratio=4,
    dim=16,
    intermediate_dim=24,
    num_layers=1,
    embed_kernel=5,
    depthwise_kernel=3,
    encoder_amp_channels=12,
    encoder_pha_channels=16,
    decoder_amp_channels=12,
    decoder_pha_channels=16,
    amp_down_kernel=5,
    pha_down_kernel=9,
    amp_up_kernel=8,
    pha_up_kernel=10,
    latent_output_kernel=3,
    latent_input_kernel=5,
    amp_output_kernel=3,
    real_output_kernel=5,
    imag_output_kernel=7,
    latent_dim=12,
    num_codebooks=8,
    codebook_size=48,
    codebook_dim=6,
)
"""A small network of neither published family: 24 kHz, eight codebooks, ratio 4, unlike branches."""
_WIDTHS = {"dim": 12, "intermediate_dim": 20, "num_layers": 1, "latent_dim": 8, "codebook_dim": 8} | {
    f"{part}_{branch}_channels": size for part in ("encoder", "decoder") for branch, size in (("amp", 14), ("pha", 11))
}


def unpublished_grn() -> Checkpoint:
    """Random weights for its sibling with GRN and without projections; every GRN has an effect."""
    checkpoint = random_checkpoint(replace(UNPUBLISHED, block="grn", projections=False, codebook_dim=12))
    generator = torch.Generator().manual_seed(1)
    for module in (*checkpoint.encoder.modules(), *checkpoint.decoder.modules()):
        if isinstance(module, GlobalResponseNorm):
            module.gamma.normal_(0, 1, generator=generator)
            module.beta.normal_(0, 1, generator=generator)
    return checkpoint


def streams(context: int) -> Checkpoint:
    """Random weights for a small streamable network at the published rates."""
    return random_checkpoint(streamable(NetworkConfig(**asdict(PUBLISHED_48K) | _WIDTHS), context))


def _golden(directory: Path) -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(directory))


def _float32(checkpoint: Checkpoint, path: Path) -> None:
    """Export it for timing only: a third of what all precisions take."""
    export_bundle(checkpoint, path, made=form_of(checkpoint).graphs(), proven=False)


EXPORTS: Mapping[str, Make] = {
    GRN.name: lambda path: _float32(_golden(GRN), path),
    LAYERSCALE.name: lambda path: export_bundle(_golden(LAYERSCALE), path, precisions=()),
    "unpublished": lambda path: export_bundle(unpublished_grn(), path, name="Sibling"),
    "streamable": lambda path: export_bundle(streams(0), path, name="Streamable", precisions=(INTEGER.name,)),
    "remembering": lambda path: export_bundle(streams(6), path, name="Remembering"),
}
"""What makes each bundle, by its name."""
IN_EVERY_RUN = ("streamable", "unpublished", GRN.name)
"""What the fast tests need."""
