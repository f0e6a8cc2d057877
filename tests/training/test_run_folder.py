"""The folder of a run: published files, whole ones only, and one writer."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from apcodec_deploy.errors import OutputError, TrainingError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.published import detect, published_config
from apcodec_training.config import TrainingConfig
from apcodec_training.run_folder import RunFolder
from apcodec_training.start import new_generator


def write(folder: RunFolder, config: TrainingConfig, *steps: int, keep: int = 2) -> dict[str, Any]:
    weights = new_generator(config.network, seed=0).weights()
    for step in steps:
        folder.write(step, weights, {"step": step}, keep)
    return weights


def test_checkpoints_are_published_ones(tmp_path: Path, small: TrainingConfig) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config(small)
    weights = write(folder, small, 12)
    held = torch.load(tmp_path / "encoder_00000012", weights_only=True)
    assert list(held) == ["encoder"]
    assert {key.split(".")[0] for key in held["encoder"]} >= {"embed_logamp", "latent_output_conv", "quantizer"}
    assert list(torch.load(tmp_path / "decoder_00000012", weights_only=True)) == ["decoder"]
    made = Checkpoint.load(CheckpointFiles.find(tmp_path))
    assert made.network == small.network and not made.notes
    assert torch.equal(made.encoder.embed_pha.weight, weights["encoder"]["embed_pha.weight"])
    published = json.loads((tmp_path / "config.json").read_text())
    assert (published["batch_size"], published["segment_size"], published["num_mels_for_loss"]) == (4, 1240, 80)


def test_a_networks_published_config_makes_it_again(small: TrainingConfig) -> None:
    for network in (small.network, TrainingConfig().network):
        weights = new_generator(network, seed=0).weights()
        shapes = {f"{part}.{key}": tuple(each.shape) for part, state in weights.items() for key, each in state.items()}
        assert detect(published_config(network), shapes) == (network, [])


def test_old_checkpoints_go_and_the_last_two_states_stay(tmp_path: Path, small: TrainingConfig) -> None:
    folder = RunFolder(tmp_path)
    write(folder, small, 1, 2, 3)
    assert folder.steps == [2, 3] and folder.newest == 3
    assert sorted(path.name for path in tmp_path.glob("state_*")) == ["state_00000002", "state_00000003"]
    write(folder, small, 4, keep=0)
    assert folder.steps == [2, 3, 4]
    assert folder.read(4)[1] == {"step": 4}


def test_a_checkpoint_counts_once_its_state_is_there(tmp_path: Path, small: TrainingConfig) -> None:
    folder = RunFolder(tmp_path)
    write(folder, small, 5)
    for name in ("encoder_00000006", "decoder_00000006", "encoder_00000007"):
        (tmp_path / name).write_bytes(b"half")  # what a kill between two files leaves
    assert folder.newest == 5
    (tmp_path / "state_00000005").write_bytes(b"no pickle")
    with pytest.raises(TrainingError, match="state_00000005 cannot be read"):
        folder.read(5)


def test_what_a_kill_left_of_a_later_step_does_not_push_out_a_whole_checkpoint(
    tmp_path: Path, small: TrainingConfig
) -> None:
    folder = RunFolder(tmp_path)
    write(folder, small, 3)
    for name in ("encoder_00000006", "decoder_00000006"):
        (tmp_path / name).write_bytes(b"of a killed run")
    write(folder, small, 4, keep=1)
    assert folder.newest == 4


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, small: TrainingConfig) -> None:
    code = """
import resource, sys
from pathlib import Path
from apcodec_deploy.errors import OutputError
from apcodec_training.run_folder import RunFolder
import torch
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    RunFolder(Path(sys.argv[1])).write(1, {"encoder": {"a": torch.zeros(100_000)}, "decoder": {}}, {}, 1)
except OutputError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "encoder_00000001 cannot be written" in answer.stdout, answer.stderr
    assert not list(tmp_path.iterdir())
    left = tmp_path / ".apcodec-0123456789ab.part"
    left.touch()
    with RunFolder(tmp_path):
        assert not left.exists(), "what a killed run was writing is gone"


def test_a_failing_write_leaves_what_was_there(
    tmp_path: Path, small: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    write(folder, small, 5)
    before = (tmp_path / "decoder_00000005").read_bytes()
    written = iter((False, True))  # encoder, decoder

    class Full(io.BytesIO):
        def getbuffer(self) -> memoryview:
            if next(written):
                raise OSError(28, "No space left on device")
            return super().getbuffer()

    monkeypatch.setattr("apcodec_training.run_folder.io.BytesIO", Full)
    with pytest.raises(OutputError, match="No space left"):
        write(folder, small, 5)
    assert (tmp_path / "decoder_00000005").read_bytes() == before
    assert not list(tmp_path.glob("*.part")) and folder.newest == 5


def test_only_one_run_writes_to_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path / "run"),
        pytest.raises(OutputError, match="another run is writing"),
        RunFolder(tmp_path / "run"),
    ):
        pass
    with RunFolder(tmp_path / "run") as again:
        assert again.newest is None
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), RunFolder(tmp_path / "file"):
        pass


def test_only_folders_of_runs_have_a_config(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only a folder of 'apcodec train'"):
        RunFolder(tmp_path).read_config()
