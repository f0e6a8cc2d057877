"""config.json as people write it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from field_checkpoints import NETWORK, State, with_config

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.published import published_config

CONFIG = published_config(NETWORK)
TEXT = json.dumps(CONFIG, indent=1)
RATES = ("sampling_rate", "n_fft", "win_size", "hop_size", "ratio")
CONFIGS: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "line comments": TEXT.replace("{", "{ // of 48 kHz, see http://x\n", 1).encode(),
    "block comments": b"/* the model */ # so\n" + TEXT.encode(),
    "trailing comma": TEXT.replace("\n}", ",\n}").encode(),
    "a path with slashes": json.dumps({"list": "s3://a/*b*/,]", **CONFIG}).replace("{", "{ # x\n", 1).encode(),
    "nested": json.dumps({"model": CONFIG, "train": {"lr": 1}}).encode(),
    "nested in parts": json.dumps(
        {"data": {key: CONFIG[key] for key in RATES}, "net": {"generator": {"num_layers": NETWORK.num_layers}}}
    ).encode(),
    "strings": json.dumps({key: str(value) for key, value in CONFIG.items()}).encode(),
    "decimals": json.dumps({key: float(value) for key, value in CONFIG.items()}).encode(),
}


@pytest.fixture
def folder(tmp_path: Path, states: dict[str, State]) -> Path:
    torch.save(states, tmp_path / "model.pt")
    return with_config(tmp_path)


@pytest.mark.parametrize("written", CONFIGS)
def test_a_config_is_read_however_it_is_written(folder: Path, model: Checkpoint, written: str) -> None:
    (folder / "config.json").write_bytes(CONFIGS[written])
    found = Checkpoint.load(CheckpointFiles.find(folder))
    assert asdict(found.network) == asdict(NETWORK)
    assert found.fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sampling_rate: 16000\nratio: 2\n", "YAML; write it as JSON"),
        (b"# of the demo\n---\nmodel:\n  ratio: 2\n", "YAML"),
        (b"[model]\nratio = 2\n", "TOML or INI"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 3\n", "git lfs pull"),
        (b"<html>", "web page"),
        (b"", "it is empty"),
        (b"\x80\x02\xff\xfe", "no text"),
        (b'{"ratio": 2', "Expecting"),
        (
            json.dumps({"a": CONFIG, "b": CONFIG | {"ratio": 4}}).encode(),
            r"several values for ratio \(a.ratio = 2, b.ra",
        ),
        (json.dumps(CONFIG | {"ratio": "two"}).encode(), "ratio is 'two', a positive integer is expected"),
    ],
)
def test_a_config_that_cannot_be_read_is_called_what_it_is(folder: Path, content: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(CheckpointFiles.find(folder))


def test_a_missing_config_is_missed_by_name(folder: Path) -> None:
    (folder / "config.json").rename(folder / "config.yaml")
    with pytest.raises(CheckpointError, match=r"holds no config\.json \(but config\.yaml\)"):
        CheckpointFiles.find(folder)
    files = CheckpointFiles(encoder=folder / "model.pt", decoder=folder / "model.pt", config=folder / "config.json")
    with pytest.raises(CheckpointError, match=r"does not exist; copy the config\.json"):
        Checkpoint.load(files)
