"""Short runs to compare: what one gave, by the curves and the validation that every run writes."""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from apcodec_export.checkpoint import CheckpointFiles
from apcodec_training.config import TrainingConfig
from apcodec_training.material import Material
from apcodec_training.processes import processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.training import Reporting, Training

WITHOUT_DISCRIMINATORS = dict.fromkeys(
    ("period_adversarial", "period_features", "resolution_adversarial", "resolution_features"), 0.0
)


def trial(
    config: TrainingConfig,
    audio: Path,
    validation: Path,
    start: Path | None = None,
    *,
    teacher: CheckpointFiles | None = None,
) -> dict[str, Any]:
    """Train, and read what came of it.

    Args:
        config: Of the run; it says how many clips validate.
        audio: Folder to train on.
        validation: Folder to validate with.
        start: Checkpoint to start from.
        teacher: Checkpoint to learn from.

    Returns:
        ``losses`` and ``validation``, the lines of the two tables without empty cells, and ``step_seconds``, the
        median CPU time from step to step, which other work on the machine changes less than the time by the clock.
    """
    with tempfile.TemporaryDirectory() as directory, processes("auto") as here, RunFolder(Path(directory)) as folder:
        clips = config.data.validation_clips
        material = Material.find(audio, validation=validation, clips=clips, seed=config.run.seed)
        files = CheckpointFiles.find(start) if start is not None else None
        clock: list[float] = []
        reporting = Reporting(step=lambda done, values: clock.append(time.process_time()))
        training = Training(config, material, folder, here, start=files, teacher=teacher, reporting=reporting)
        training.run()
        losses, validations = _lines(folder.path / "losses.csv"), _lines(folder.path / "validation.csv")
    return {"losses": losses, "validation": validations, "step_seconds": median(np.diff(clock).tolist())}


def _lines(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in line.items() if value} for line in csv.DictReader(file)]
