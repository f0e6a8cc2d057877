"""Runs that go on: after an interrupt, with other files, with other settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from training_runs import lines, ready, train

from apcodec_deploy.errors import TrainingError
from apcodec_training.config import TrainingConfig
from apcodec_training.run_folder import RunFolder
from apcodec_training.training import Reporting


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    config = small.changed(
        {
            # Everything that has a memory: warm-up, codebooks from data, revival, discriminators that join in late.
            "start": {"mean_spectrum": True, "codebooks_from_data": True, "steps_without_quantizer": 2},
            "discriminators": {"first_step": 4, "samples": 500},
            "optimiser": {"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 3, "gradient_norm": 100.0},
            "data": {"gain_db": [-6.0, 3.0]},
            "run": {"steps": 9, "log_every": 2, "checkpoint_every": 3, "validate_every": 4, "revive_after": 2},
        },
        "the test",
    )
    whole = train(config, folder, tmp_path / "whole")
    assert whole.done == 9

    class Stop(Exception):
        pass

    def stop_at(step: int) -> Reporting:
        def stepped(done: int, losses: dict[str, float]) -> None:
            if done == step:
                raise Stop

        return Reporting(step=stepped)

    # Ends without a word in the middle of an interval, twice, and once right where the codebooks are to be filled.
    with pytest.raises(Stop):
        train(config, folder, tmp_path / "parts", reporting=stop_at(5))
    assert RunFolder(tmp_path / "parts").newest == 3
    with pytest.raises(Stop):
        train(config, folder, tmp_path / "parts", resume=True, reporting=stop_at(8))
    assert RunFolder(tmp_path / "parts").newest == 6
    train(config, folder, tmp_path / "parts", resume=True)

    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert (tmp_path / "parts" / "validation.csv").read_text() == (tmp_path / "whole" / "validation.csv").read_text()
    for part in ("encoder", "decoder"):
        mine, theirs = (
            torch.load(tmp_path / run / f"{part}_00000009", weights_only=True)[part] for run in ("parts", "whole")
        )
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    first, last = lines(tmp_path / "whole")[0], lines(tmp_path / "whole")[-1]
    assert first["codebook"] == "" and first["period_adversarial"] == ""
    assert all(last[name] for name in ("codebook", "period_adversarial", "resolution_features", "gradient_norm"))


def test_other_files_are_noticed_when_a_run_goes_on(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "audio")
    train(small, tmp_path / "audio", tmp_path / "run")
    (tmp_path / "audio" / "clip 2.flac").unlink()
    said: list[str] = []
    more = small.changed({"run": {"steps": 7}}, "the test")
    train(more, tmp_path / "audio", tmp_path / "run", resume=True, reporting=Reporting(say=said.append))
    assert any("not those that the run was begun with" in line for line in said)
    assert RunFolder(tmp_path / "run").read_config()["run"]["steps"] == 7, "the next resume does what this one did"


def test_a_finished_run_says_that_it_is(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    train(small, folder, tmp_path)
    with pytest.raises(TrainingError, match="is at step 6 of 6; a larger --steps"):
        ready(small, folder, tmp_path, resume=True)


def test_a_resumed_run_does_what_its_config_says_now(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    without = {f"{family}_{kind}": 0.0 for family in ("period", "resolution") for kind in ("adversarial", "features")}
    train(small.changed({"losses": without}, ""), folder, tmp_path)
    changes = {"run": {"steps": 8}, "optimiser": {"codebook_rate": 3.0, "weight_decay": 0.0}}
    training = train(small.changed(changes, ""), folder, tmp_path, resume=True)
    network, codebooks = training.steps.optimiser.param_groups
    assert codebooks["lr"] == 3 * network["lr"] and network["weight_decay"] == 0
    assert lines(tmp_path)[-1]["period_adversarial"] != "", "discriminators join in"
    with pytest.raises(TrainingError, match=r"does not fit the config: .*size mismatch for embed"):
        ready(small.changed({"run": {"steps": 9}, "network": {"dim": 24}}, ""), folder, tmp_path, resume=True)
    judges = small.changed({"run": {"steps": 9}, "discriminators": {"period_channels": 3}}, "")
    with pytest.raises(TrainingError, match=r"leave the periods, .* as they were"):
        ready(judges, folder, tmp_path, resume=True)
    torch.save({}, tmp_path / "state_00000008")
    with pytest.raises(TrainingError, match="is not the state of a run: damaged is missing"):
        ready(small.changed({"run": {"steps": 9}}, ""), folder, tmp_path, resume=True)


def test_there_is_nothing_to_resume_in_a_new_folder(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint to go on from"):
        ready(small, folder, tmp_path, resume=True)
