"""Checkpoints that the exporter's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_export.checkpoint import Checkpoint, CheckpointFiles


@pytest.fixture(scope="session")
def checkpoint(family: Path) -> Checkpoint:
    """Each golden checkpoint in turn, in PyTorch."""
    return Checkpoint.load(CheckpointFiles.find(family))
