"""Files that hold no weights, or more than weights, are refused with what they are."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import read_state


class _Payload:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("plain", [False, True], ids=["torch.save", "plain pickle"])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, plain: bool) -> None:
    path, target = tmp_path / "encoder_1", tmp_path / "executed"
    payload = {"encoder": {"embed_logamp.bias": torch.ones(2), "x": _Payload(target)}}
    if plain:
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, path)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_state(path, "encoder")
    assert not target.exists()


@pytest.mark.parametrize("suffix", ["", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"error 404",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<!DOCTYPE html>",
        b"just some notes\n",
        b"PK\x03\x04",
        bytes(64),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"encoder_1{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"encoder_1.* cannot be read as weights"):
        read_state(path, "encoder")


def test_a_truncated_file_is_refused(family: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder_1"
    path.write_bytes((family / "encoder_00001000").read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_state(path, "encoder")


@pytest.mark.parametrize("name", ["absent", "absent.safetensors", "."])
def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_state(tmp_path / name, "encoder")


@pytest.mark.parametrize("content", [{"decoder": {"bias": torch.ones(1)}}, {}, [torch.ones(1)], {"bias": 1.0}])
def test_a_file_without_the_parts_state_dict_says_what_is_expected(tmp_path: Path, content: object) -> None:
    path = tmp_path / "encoder_1"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="expected a state dict, or one under the key 'encoder'"):
        read_state(path, "encoder")
