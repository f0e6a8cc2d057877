"""A small network, a folder of clips, and runs of a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from apcodec_training.config import TrainingConfig

SMALL: dict[str, Any] = {
    "network": {
        "dim": 16,
        "intermediate_dim": 24,
        "num_layers": 1,
        "encoder_amp_channels": 16,
        "encoder_pha_channels": 16,
        "decoder_amp_channels": 16,
        "decoder_pha_channels": 16,
        "latent_dim": 8,
        "codebook_dim": 8,
        "codebook_size": 16,
        "num_codebooks": 2,
    },
    "data": {"segment_samples": 1240, "batch_size": 4, "workers": 0, "validation_clips": 1, "validation_seconds": 0.5},
    "discriminators": {
        "periods": [2, 3],
        "period_channels": 2,
        "resolutions": [[128, 16, 64], [256, 32, 128]],
        "resolution_channels": 4,
    },
    "run": {"steps": 6, "log_every": 1, "validate_every": 0, "checkpoint_every": 3},
}
"""A network of some 100,000 parameters and runs of a second or two."""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch computes as in a process with ``OMP_NUM_THREADS=1``, to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small() -> TrainingConfig:
    """A config whose steps take some milliseconds."""
    return TrainingConfig().changed(SMALL, "the test")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Eight clips of half a second to two seconds: mono and stereo, of three sample rates, in two depths of folders."""
    root = tmp_path_factory.mktemp("audio")
    (root / "deeper").mkdir()
    speech, rate = soundfile.read(examples / "speech_female_48k.wav", dtype="float32")
    for index in range(8):
        clip = speech[index * rate // 2 :][: rate // 2 * (1 + index % 4)]
        if index == 3:
            clip = np.stack([clip, -0.5 * clip], axis=1)
        name = f"deeper/clip {index}.wav" if index % 2 else f"clip {index}.flac"
        soundfile.write(root / name, clip, {5: 44_100, 6: 16_000}.get(index, rate))
    return root
