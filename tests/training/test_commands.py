"""``apcodec train``: from a folder of audio to a checkpoint that deploys, in a process that may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from apcodec_deploy.cli.main import app
from apcodec_deploy.errors import TrainingError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_training.config import TrainingConfig
from apcodec_training.run_folder import RunFolder


@pytest.fixture
def config(tmp_path: Path, small: TrainingConfig) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(small.to_dict()))
    return file


def train(*arguments: object) -> str:
    """What the command says."""
    answer = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False, standalone_mode=False)
    assert answer.exit_code == 0
    return answer.output


def test_a_folder_of_audio_becomes_a_checkpoint_that_loads(folder: Path, tmp_path: Path, config: Path) -> None:
    output = tmp_path / "run"
    train(folder, output, "--config", config, "--device", "cpu", "--steps", 3)
    made = Checkpoint.load(CheckpointFiles.find(output))
    assert made.network == TrainingConfig().changed(json.loads(config.read_text()), "").network
    assert (output / "losses.csv").exists() and list((output / "logs").iterdir())
    with pytest.raises(TrainingError, match="holds checkpoints; --resume goes on"):
        train(folder, output, "--config", config)
    train(folder, output, "--resume", "--steps", 5)
    assert RunFolder(output).newest == 5


def test_one_command_begins_and_goes_on(folder: Path, tmp_path: Path, config: Path) -> None:
    again = (folder, tmp_path / "run", "--config", config, "--device", "cpu", "--resume")
    train(*again, "--steps", 3)
    train(*again, "--steps", 4)
    assert RunFolder(tmp_path / "run").newest == 4


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_run_that_is_killed_goes_on_to_the_same_losses(folder: Path, tmp_path: Path, config: Path) -> None:
    values = json.loads(config.read_text())
    values["run"] |= {"steps": 20, "checkpoint_every": 4}
    config.write_text(json.dumps(values))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ["--config", str(config), "--device", "cpu"]
    train(folder, whole, *options)
    process = subprocess.Popen(
        [sys.executable, "-m", "apcodec_training", str(folder), str(killed), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while (RunFolder(killed).newest or 0) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 8 <= (RunFolder(killed).newest or 0) < 20
    train(folder, killed, "--resume", "--device", "cpu")
    curves = [
        [line.rsplit(",", 9)[0] for line in (run / "losses.csv").read_text().splitlines()] for run in (whole, killed)
    ]
    assert len(curves[0]) == 21 and curves[0] == curves[1]


def test_what_cannot_be_trained_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a directory"):
        train(tmp_path / "absent", tmp_path / "run")
    with pytest.raises(TrainingError, match="no preset 'large'"):
        train(folder, tmp_path / "run", "--preset", "large")
    assert not (tmp_path / "run").exists()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "losses.csv", "training.json", "logs"):
        (other / name).write_text("[1]")
        with pytest.raises(TrainingError, match=rf"{name} belongs to something else and would be written over"):
            train(folder, other, "--resume")
        assert [(other / name).read_text(), *other.iterdir()] == ["[1]", other / name]
        (other / name).unlink()


def test_a_run_goes_on_with_its_own_settings_or_says_why_not(folder: Path, tmp_path: Path, config: Path) -> None:
    run, wider = tmp_path / "run", tmp_path / "wider.toml"
    values = json.loads(config.read_text())
    values["run"]["validate_every"] = 3
    config.write_text(json.dumps(values))
    train(folder, run, "--config", config, "--device", "cpu", "--steps", 3)
    settings = (run / "training.json").read_bytes()
    wider.write_text("[network]\ndim = 24\n")
    with pytest.raises(
        TrainingError, match=r"another network than .*: dim is \d+ there and 24 here; take these numbers"
    ):
        train(folder, run, "--resume", "--steps", 5, "--config", wider)
    (run / "state_00000003").rename(tmp_path / "state")
    with pytest.raises(TrainingError, match=r"the weights of step 3, but no state .*--start"):
        train(folder, run, "--resume", "--steps", 5)
    assert (run / "training.json").read_bytes() == settings
    torch.save([1], run / "state_00000003")
    with pytest.raises(TrainingError, match="is not the state of a run"):
        train(folder, run, "--resume", "--steps", 5)
    for file in (*run.glob("*_00000003"), run / "losses.csv"):  # as after a kill before the first checkpoint
        file.unlink()
    with pytest.raises(TrainingError, match="holds checkpoints"):  # those of best/
        train(folder, run, "--config", config)
    said = train(folder, run, "--resume", "--device", "cpu", "--steps", 2)
    assert "holds no checkpoint yet; the run begins at step 0 with the settings of its training.json" in said
    before, after = (json.loads(text) for text in (settings, (run / "training.json").read_bytes()))
    assert after == before | {"run": before["run"] | {"steps": 2}}
