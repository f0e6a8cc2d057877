"""The folder of a run: checkpoints in the published layout, the state to go on from, the config it was started with.

    config.json           the network, with the keys of the published code
    training.json         the whole config of the run
    encoder_00001000      weights, as the published code saves them: {"encoder": state_dict}
    decoder_00001000
    state_00001000        discriminators, optimisers, usage of codebooks, and the weights where those above are their
                          average; of the last two checkpoints
    best/                 the checkpoint of the best score in validation, and best.json: its step and numbers
    losses.csv, validation.csv, logs/ (TensorBoard), skipped.txt

Every file appears whole. A checkpoint counts once its state is there, which is written last.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from apcodec_deploy.errors import OutputError, TrainingError
from apcodec_deploy.files import is_partial, locked, make_folder, output_errors, written_whole
from apcodec_export.checkpoint import read_state
from apcodec_export.foreign_files import no_weights, unreadable
from apcodec_export.published import published_config
from apcodec_training.config import TrainingConfig

PARTS = ("encoder", "decoder")
_STATES = 2
_BEST = "best"
_SETTINGS = "training.json"
_WRITTEN = ("config.json", _SETTINGS, "losses.csv", "validation.csv", "skipped.txt", _BEST, "logs")
_SECTIONS = {"network", "data", "losses", "optimiser", "run"}


class RunFolder:
    """One run's files. As a context it makes the folder and locks it: only one run writes to it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Any = None

    def __enter__(self) -> RunFolder:
        """Make and lock the folder.

        Raises:
            OutputError: It cannot be made, or another run is writing to it.
        """
        try:
            make_folder(self.path)
            self._lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        if not locked(self._lock.fileno()):
            self._lock.close()
            raise OutputError(f"another run is writing to {self.path}; name another folder, or wait for it")
        for path in self.path.iterdir():
            if is_partial(path):  # of a run that was killed while it wrote
                path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    @property
    def steps(self) -> list[int]:
        """Steps of the checkpoints that can be gone on from or exported, oldest first."""
        found = [self._steps_of(part) for part in PARTS]
        return sorted(set.intersection(*found))

    @property
    def newest(self) -> int | None:
        """The step to go on from; None where nothing has been saved."""
        return max(set(self.steps) & self._steps_of("state"), default=None)

    @property
    def holds_checkpoints(self) -> bool:
        """Whether a new run would mix with weights that are here, those of ``best`` included."""
        return bool(self.steps or RunFolder(self.path / _BEST).steps)

    @property
    def is_run(self) -> bool:
        """Whether a run has been begun here."""
        try:
            values = json.loads((self.path / _SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(values, dict) and values.keys() >= _SECTIONS

    @property
    def taken(self) -> str | None:
        """A name that a run writes to and that something has already; None where all are free."""
        return next((name for name in _WRITTEN if os.path.lexists(self.path / name)), None)

    def _steps_of(self, part: str) -> set[int]:
        names = (path.name.removeprefix(f"{part}_") for path in self.path.glob(f"{part}_*"))
        return {int(name) for name in names if name.isdecimal()}

    def file(self, part: str, step: int) -> Path:
        """Where a part of a checkpoint is."""
        return self.path / f"{part}_{step:08d}"

    def write_config(self, config: TrainingConfig) -> None:
        """Write what the run is."""
        published = published_config(config.network) | {
            "batch_size": config.data.batch_size,
            "segment_size": config.data.segment_samples,
            "learning_rate": config.optimiser.learning_rate,
            "adam_b1": config.optimiser.beta1,
            "adam_b2": config.optimiser.beta2,
            "lr_decay": config.optimiser.decay,
            "num_mels": 80,
            "num_mels_for_loss": 80,
            "num_workers": config.data.workers,
            "seed": config.run.seed,
        }
        for name, values in ((_SETTINGS, config.to_dict()), ("config.json", published)):
            _write_json(self.path / name, values)

    def write(
        self, step: int, weights: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
    ) -> None:
        """Write a checkpoint, and remove what is not to be kept.

        Args:
            step: Steps done.
            weights: State dicts by part.
            state: What else is needed to go on: tensors, numbers and containers of them.
            keep: How many checkpoints stay; 0 for all. States of the last two stay.

        Raises:
            OutputError: It cannot be written; what was there is still there.
        """
        for part in PARTS:
            _save({part: dict(weights[part])}, self.file(part, step))
        _save(dict(state), self.file("state", step))
        for old in sorted(self._steps_of("state"))[:-_STATES]:
            self.file("state", old).unlink(missing_ok=True)
        # What a kill has left of later steps is not counted: those will come again.
        whole = [each for each in self.steps if each <= step]
        for old in whole[:-keep] if keep else []:
            for part in PARTS:
                self.file(part, old).unlink(missing_ok=True)

    def best_score(self, material: str) -> float:
        """The best score so far on some material, by its digest; infinite where there is none."""
        try:
            best = json.loads((self.path / _BEST / "best.json").read_text(encoding="utf-8"))
            return float(best["score"]) if best["material"] == material else math.inf
        except (OSError, ValueError, KeyError, TypeError):
            return math.inf

    def write_best(
        self, step: int, weights: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, float], material: str
    ) -> None:
        """Write the weights of a step as the best, instead of those before.

        Args:
            step: Steps done.
            weights: State dicts by part.
            values: What validation found, and its ``score``.
            material: Digest of the files.

        Raises:
            OutputError: It cannot be written.
        """
        best = RunFolder(self.path / _BEST)
        with output_errors(best.path):
            best.path.mkdir(exist_ok=True)
        for part in PARTS:
            _save({part: dict(weights[part])}, best.file(part, step))
        _write_json(best.path / "config.json", json.loads((self.path / "config.json").read_text(encoding="utf-8")))
        _write_json(best.path / "best.json", {"step": step, "material": material, **values})
        for old in best.steps:
            for part in PARTS if old != step else ():
                best.file(part, old).unlink(missing_ok=True)

    def read(self, step: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """The weights by part and the state of a checkpoint.

        Raises:
            CheckpointError: The weights cannot be read.
            TrainingError: The state cannot be read.
        """
        weights = {part: read_state(self.file(part, step), part) for part in PARTS}
        path = self.file("state", step)
        try:
            state: dict[str, Any] = torch.load(path, "cpu", weights_only=True)
        except Exception as error:  # unpickling what is no pickle can raise anything, and advise to run its code
            raise TrainingError(
                f"{path} cannot be read; remove it to go on from the one before: {_why(path)}"
            ) from error
        if not isinstance(state, dict):
            raise TrainingError(f"{path} is not the state of a run; remove it to go on from the one before")
        return weights, state

    def read_config(self) -> dict[str, Any]:
        """The sections of the config that the run was started with.

        Raises:
            TrainingError: There is none.
        """
        path = self.path / _SETTINGS
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{path} cannot be read ({error}); only a folder of 'apcodec train' can be resumed"
            ) from error
        if not isinstance(values, dict):
            raise TrainingError(
                f"{path} holds a {type(values).__name__}; only a folder of 'apcodec train' can be resumed"
            )
        return values


def _write_json(target: Path, values: Mapping[str, Any]) -> None:
    with written_whole(target, overwrite=True) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _save(values: dict[str, Any], target: Path) -> None:
    # Through memory, since PyTorch hides why a file cannot be written, such as a full disk.
    memory = io.BytesIO()
    torch.save(values, memory)
    with written_whole(target, overwrite=True) as temporary, temporary.open("wb") as file:
        file.write(memory.getbuffer())


def _why(path: Path) -> str:
    """Why PyTorch does not read a file."""
    try:
        return no_weights(path) or unreadable(path)
    except OSError as error:
        return str(error.strerror or error)
