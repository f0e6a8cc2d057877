"""Checkpoints that the exporter's tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_once import made_once

from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.model.layers import GlobalResponseNorm
from apcodec_export.network import NetworkConfig


@pytest.fixture(scope="session")
def checkpoint(family: Path) -> Checkpoint:
    """Each golden checkpoint in turn, in PyTorch."""
    return Checkpoint.load(CheckpointFiles.find(family))


@pytest.fixture(scope="session")
def unpublished() -> NetworkConfig:
    """A small network of neither published family: 24 kHz, eight codebooks, ratio 4, unlike branches."""
    return NetworkConfig(
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


@pytest.fixture(scope="session")
def unpublished_grn(unpublished: NetworkConfig) -> Checkpoint:
    """Random weights for its sibling with GRN and without projections; every GRN has an effect."""
    checkpoint = random_checkpoint(replace(unpublished, block="grn", projections=False, codebook_dim=12))
    generator = torch.Generator().manual_seed(1)
    for module in (*checkpoint.encoder.modules(), *checkpoint.decoder.modules()):
        if isinstance(module, GlobalResponseNorm):
            module.gamma.normal_(0, 1, generator=generator)
            module.beta.normal_(0, 1, generator=generator)
    return checkpoint


@pytest.fixture(scope="session")
def unpublished_bundle(unpublished_grn: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint, exported once per test run."""
    return made_once("unpublished", lambda path: export_bundle(unpublished_grn, path, name="Sibling"), tmp_path_factory)
