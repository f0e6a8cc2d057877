"""Several processes: the same run as one, with the batch shared out."""

from __future__ import annotations

import csv
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
from apcodec_training.config import TrainingConfig
from apcodec_training.processes import processes
from apcodec_training.run_folder import RunFolder

_SEVERAL = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
IN_TWO = (sys.executable, *_SEVERAL, "-m", "apcodec_training")
"""The command in two processes."""


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def test_one_process_is_alone() -> None:
    with processes("cpu") as here:
        assert (here.rank, here.world, here.device.type) == (0, 1, "cpu")
        rows = torch.arange(3)
        assert here.summed(rows) is rows and here.gathered(rows) is rows
        module = torch.nn.Linear(1, 1)
        assert here.spread(module) is module


@pytest.mark.parametrize(("name", "told"), [("tpu9", "is no device"), ("meta", "runs on cpu or cuda")])
def test_devices_that_cannot_train_are_refused(name: str, told: str) -> None:
    with pytest.raises(TrainingError, match=told), processes(name):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(TrainingError, match="no CUDA device"), processes("cuda"):
        pass
    with processes("auto") as here:
        assert here.device.type == "cpu"


def alone(*arguments: str) -> str:
    """Run the command in this process: what it says."""
    answer = CliRunner().invoke(app, ["train", *arguments], catch_exceptions=False, standalone_mode=False)
    assert answer.exit_code == 0
    return answer.stderr


def in_two(*arguments: str) -> str:
    """Run the command in two processes: what they say."""
    answer = subprocess.run([*IN_TWO, *arguments], capture_output=True, text=True, env=environment(), timeout=300)
    assert answer.returncode == 0, answer.stderr
    return answer.stderr


@pytest.mark.first
@pytest.mark.slow
def test_two_processes_make_the_run_of_one(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    config = small.changed(
        {
            "start": {"codebooks_from_data": True, "steps_without_quantizer": 1},
            "discriminators": {"first_step": 2},
            "run": {"steps": 4, "checkpoint_every": 2, "validate_every": 2, "revive_after": 1},
        },
        "the test",
    )
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    for world, run in ((1, alone), (2, in_two)):
        output, options = str(tmp_path / str(world)), ("--config", str(tmp_path / "config.json"), "--device", "cpu")
        told = run(str(folder), output, *options)
        assert told.count("files to train on") == 1, "one process speaks for all"
        assert f"{world} × cpu" in told
    by_one, shared = (
        list(csv.DictReader((tmp_path / name / "losses.csv").read_text().splitlines())) for name in ("1", "2")
    )
    for mine, theirs in zip(by_one, shared, strict=True):
        for name in ("total", "mel_l1", "codebook", "period_discriminator", "usage_1", "revived"):
            assert mine[name] == theirs[name] == "" or float(mine[name]) == pytest.approx(float(theirs[name]), rel=2e-3)
    assert RunFolder(tmp_path / "2").newest == 4


@pytest.mark.slow
def test_two_go_on_from_what_one_has_saved_and_end_after_the_same_step(
    tmp_path: Path, small: TrainingConfig, folder: Path
) -> None:
    config = small.changed({"run": {"steps": 2, "log_every": 1, "checkpoint_every": 100_000}}, "the test")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    output = tmp_path / "run"
    alone(str(folder), str(output), "--config", str(tmp_path / "config.json"), "--device", "cpu")
    process = subprocess.Popen(
        [*IN_TWO, str(folder), str(output), "--resume", "--steps", "100000", "--device", "cpu"],
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len((output / "losses.csv").read_text().splitlines()) < 10:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) != 0
    logged = (output / "losses.csv").read_text().splitlines()[-1].partition(",")[0]
    assert RunFolder(output).newest == int(logged) >= 9
