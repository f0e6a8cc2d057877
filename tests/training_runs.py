"""Training runs on small networks, and what they wrote."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from apcodec_training.config import TrainingConfig
from apcodec_training.material import Material
from apcodec_training.processes import Processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.training import Training

HERE = Processes(0, 1, torch.device("cpu"))


def ready(config: TrainingConfig, audio: Path, output: Path, **options: Any) -> Training:
    """A run before its first step."""
    material = Material.find(audio, validation=None, clips=config.data.validation_clips, seed=config.run.seed)
    return Training(config, material, RunFolder(output), HERE, **options)


def train(config: TrainingConfig, audio: Path, output: Path, **options: Any) -> Training:
    """A run that has come to its end."""
    with RunFolder(output):
        training = ready(config, audio, output, **options)
        training.run()
    return training


def lines(output: Path, *, without: tuple[str, ...] = ("seconds",)) -> list[dict[str, str]]:
    """The lines of a run's losses, without some of the columns."""
    with (output / "losses.csv").open(newline="") as file:
        return [{key: value for key, value in line.items() if key not in without} for line in csv.DictReader(file)]
