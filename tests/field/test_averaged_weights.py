"""Averaged (EMA) weights beside plain ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from field_checkpoints import PARTS, State, loaded, prefixed, with_config
from typer.testing import CliRunner

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.commands import export

AVERAGED: dict[str, Callable[[State, State, State, State], dict[str, Any]]] = {
    "key beside": lambda e, d, f, g: {"encoder": e, "decoder": d, "encoder_ema": f, "decoder_ema": g},
    "one ema": lambda e, d, f, g: {"model": {"encoder": e, "decoder": d}, "ema": {"encoder": f, "decoder": g}},
    "params_ema": lambda e, d, f, g: {
        "params": prefixed("encoder.", e) | prefixed("decoder.", d),
        "params_ema": prefixed("encoder.", f) | prefixed("decoder.", g),
    },
    "prefixes": lambda e, d, f, g: {
        "state_dict": prefixed("encoder.", e) | prefixed("decoder.", d)
        | prefixed("ema_model.encoder.", f) | prefixed("ema_model.decoder.", g) | {"ema_model.step": torch.tensor(3)},
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", AVERAGED)
@pytest.mark.parametrize("averaged", [True, False])
def test_averaged_weights_are_taken_before_plain_ones_unless_those_are_asked_for(
    tmp_path: Path, states: dict[str, State], others: dict[str, State], layout: str, averaged: bool
) -> None:
    file = AVERAGED[layout](*(held[part] for held in (states, others) for part in PARTS))
    torch.save(file, tmp_path / "model.pt")
    found = loaded(tmp_path, averaged=averaged)
    expected = others if averaged else states
    assert all(torch.equal(value, expected["decoder"][key]) for key, value in found.decoder.state_dict().items())
    assert all(torch.equal(value, expected["encoder"][key]) for key, value in found.encoder.state_dict().items())
    assert all(
        ("averaged (EMA) weights; plain" if averaged else "plain weights; averaged") in note for note in found.notes
    )


@pytest.mark.parametrize(("options", "averaged"), [([], True), (["--plain"], False)])
def test_the_command_line_has_that_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], averaged: bool
) -> None:
    def load(files: CheckpointFiles, **given: bool) -> Checkpoint:
        raise CheckpointError(f"asked for {given}")

    monkeypatch.setattr(Checkpoint, "load", load)
    (tmp_path / "model.pt").touch()
    command = typer.Typer(add_completion=False)
    command.command()(export)
    found = CliRunner().invoke(command, [str(with_config(tmp_path)), "x", *options])
    assert str(found.exception) == f"asked for {{'averaged': {averaged}}}"


def test_averaged_and_plain_parts_are_not_mixed(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], others: dict[str, State]
) -> None:
    torch.save({**states, "encoder_ema": others["encoder"]}, tmp_path / "model.pt")
    assert loaded(tmp_path).fingerprint == model.fingerprint
