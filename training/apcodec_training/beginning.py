"""How a run begins: as a new one, by the settings that its folder holds, or at a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.errors import TrainingError
from apcodec_training.config import TrainingConfig
from apcodec_training.presets import preset, read_config
from apcodec_training.run_folder import RunFolder
from apcodec_training.start import differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a run begins with.

    Attributes:
        config: The settings.
        resume: Whether it goes on from a checkpoint of its folder.
        note: What the user should know; empty where all is as asked.
    """

    config: TrainingConfig
    resume: bool
    note: str


def beginning(
    folder: RunFolder, *, named: str | None, changes: Path | None, steps: int | None, resume: bool
) -> Beginning:
    """Find out how a run begins in a folder, and refuse what would mix it with another.

    Args:
        folder: Of the run.
        named: A preset. A run that goes on has its settings in its folder.
        changes: A file of changes to the settings.
        steps: Number of steps, if not that of the settings.
        resume: Go on with what the folder holds.

    Raises:
        TrainingError: The folder holds what is not this run's, or a setting makes no run.
    """
    held, goes_on = folder.is_run, resume and folder.newest is not None
    if not held and not goes_on and (foreign := folder.taken):
        raise TrainingError(
            f"{folder.path / foreign} belongs to something else and would be written over; name another folder"
        )
    if not resume and folder.holds_checkpoints:
        raise TrainingError(f"{folder.path} holds checkpoints; --resume goes on from them, or name another folder")
    if resume and folder.newest is None and folder.steps:
        raise TrainingError(
            f"{folder.path} holds the weights of step {folder.steps[-1]}, but no state of that step, so the run cannot "
            f"go on; a new run in another folder can begin with these weights: --start {folder.path}"
        )
    config = preset(named or "paper")
    if before := resume and (held or goes_on):
        config = config.changed(folder.read_config(), str(folder.path / "training.json"))
    network = config.network
    if changes is not None:
        config = config.changed(read_config(changes), str(changes))
    if steps is not None:
        config = config.changed({"run": {"steps": steps}}, "--steps")
    if before and (different := differences(network, config.network)):
        raise TrainingError(
            f"{folder.path} was begun with another network than {changes} has: {different}; "
            "take these numbers out, or name another folder"
        )
    return Beginning(config=config, resume=goes_on, note=_note(folder, held) if resume and not goes_on else "")


def _note(folder: RunFolder, held: bool) -> str:
    """What to say where there is no checkpoint to go on from."""
    if not held:
        return f"{folder.path} holds no run yet; a new one begins"
    return (
        f"{folder.path} holds no checkpoint yet; the run begins at step 0 with the settings of its training.json, "
        "and with the weights that --start or --teacher name now"
    )
