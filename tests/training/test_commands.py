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


def train(*arguments: object) -> None:
    answer = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False, standalone_mode=False)
    assert answer.exit_code == 0


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
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"holds a config\.json of something else"):
        train(folder, tmp_path)
