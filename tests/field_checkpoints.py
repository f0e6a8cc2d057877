"""A small model and its checkpoint as tests of what people's files look like write it."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.network import NetworkConfig
from apcodec_export.published import published_config

State = dict[str, Tensor]
PARTS = ("encoder", "decoder")
NETWORK = NetworkConfig(
    block="grn",
    projections=True,
    sample_rate=16000,
    n_fft=32,
    win_size=24,
    hop_size=8,
    ratio=2,
    dim=4,
    intermediate_dim=6,
    num_layers=2,
    embed_kernel=3,
    depthwise_kernel=3,
    encoder_amp_channels=4,
    encoder_pha_channels=6,
    decoder_amp_channels=4,
    decoder_pha_channels=6,
    amp_down_kernel=3,
    pha_down_kernel=3,
    amp_up_kernel=4,
    pha_up_kernel=4,
    latent_output_kernel=3,
    latent_input_kernel=3,
    amp_output_kernel=3,
    real_output_kernel=3,
    imag_output_kernel=3,
    latent_dim=5,
    num_codebooks=2,
    codebook_size=8,
    codebook_dim=3,
)


def with_config(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(published_config(NETWORK)))
    return folder


def loaded(folder: Path, **options: bool) -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(with_config(folder)), **options)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}
