"""The mean of checkpoints: between them, readable, and refused where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import FAMILIES, ROOT

from apcodec_deploy.errors import CheckpointError, OutputError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint, read_state

SCRIPT = ROOT / "training" / "blend.py"


@pytest.fixture(scope="module")
def blend() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("blend", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden() -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(FAMILIES["grn"]))


@pytest.fixture
def other(golden: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint of the same network with other weights, as the published code saves one."""
    made = random_checkpoint(golden.network, seed=3)
    (tmp_path / "other").mkdir()
    for part, module in (("encoder", made.encoder), ("decoder", made.decoder)):
        torch.save({part: module.state_dict()}, tmp_path / "other" / f"{part}_00000007")
    config = (FAMILIES["grn"] / "config.json").read_text()
    (tmp_path / "other" / "config.json").write_text(config)
    return tmp_path / "other"


@pytest.mark.slow
def test_the_mean_lies_between_and_loads(golden: Checkpoint, other: Path, tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, tmp_path / "mean", f"1:{FAMILIES['grn']}", f"3:{other}"]
    subprocess.run(command, check=True)
    mean, second = (Checkpoint.load(CheckpointFiles.find(path)) for path in (tmp_path / "mean", other))
    assert mean.network == golden.network and mean.fingerprint not in (golden.fingerprint, second.fingerprint)
    for part in ("encoder", "decoder"):
        states = [dict(getattr(each, part).state_dict()) for each in (golden, second, mean)]
        for name, found in states[2].items():
            torch.testing.assert_close(found, 0.25 * states[0][name] + 0.75 * states[1][name], rtol=1e-5, atol=1e-6)


def test_the_mean_of_one_checkpoint_is_itself(blend: ModuleType, golden: Checkpoint, tmp_path: Path) -> None:
    blend.write_blend(tmp_path / "same", [(0.25, FAMILIES["grn"]), (0.75, FAMILIES["grn"])])
    same = Checkpoint.load(CheckpointFiles.find(tmp_path / "same"))
    for part in ("encoder", "decoder"):
        expected = getattr(golden, part).state_dict()
        assert all(torch.equal(found, expected[name]) for name, found in getattr(same, part).state_dict().items())


def test_weights_are_saved_in_half_precision(
    blend: ModuleType, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["blend.py", str(tmp_path / "half"), f"1:{other}", "--half"])
    blend.main()
    for part in ("encoder", "decoder"):
        whole, half = (
            read_state(getattr(CheckpointFiles.find(each), part), part) for each in (other, tmp_path / "half")
        )
        assert half.keys() == whole.keys() and {each.dtype for each in half.values()} == {torch.float16}
        assert all(torch.equal(found, whole[name].half()) for name, found in half.items())


def test_what_half_precision_cannot_hold_is_named(blend: ModuleType) -> None:
    with pytest.raises(CheckpointError, match=r"gain reaches 7e\+04, which half precision cannot hold"):
        blend._halved("gain", torch.tensor([1.0, -7e4]))


def test_shares_beyond_all_numbers_are_refused(blend: ModuleType, other: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="add up to infinity"):
        blend.write_blend(tmp_path / "out", [(1e308, other), (1e308, other)])


def test_checkpoints_of_two_networks_have_no_mean(blend: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="only those of one network have a mean"):
        blend.write_blend(tmp_path / "none", [(1, FAMILIES["grn"]), (1, FAMILIES["layerscale"])])
    assert not (tmp_path / "none").exists()


def test_bad_arguments_are_one_line(
    blend: ModuleType, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for argument, words in (
        (f"0:{other}", f"the share of {other} is 0.0; more than 0 is expected"),
        (f"nan:{other}", f"the share of {other} is nan; more than 0 is expected"),
        (f"1:{tmp_path / 'absent'}", "is not a directory"),
        (str(other), "is no share and folder; one is expected as 0.5:RUN/best"),
    ):
        monkeypatch.setattr(sys, "argv", ["blend.py", str(tmp_path / "out"), argument])
        with pytest.raises(SystemExit) as end:
            blend.main()
        assert end.value.code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="exists"):
        blend.write_blend(other, [(1, other)])
