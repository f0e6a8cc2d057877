"""Averaged weights: what they are, that the run's result is them, and that a resumed run goes on with both kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from apcodec_training.averaging import Averaged
from apcodec_training.config import TrainingConfig
from apcodec_training.material import Material
from apcodec_training.processes import Processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.start import new_generator
from apcodec_training.training import Training

HERE = Processes(0, 1, torch.device("cpu"))


def run(config: TrainingConfig, audio: Path, output: Path, **options: Any) -> Training:
    material = Material.find(audio, validation=None, clips=config.data.validation_clips, seed=config.run.seed)
    with RunFolder(output) as folder:
        training = Training(config, material, folder, HERE, **options)
        training.run()
    return training


def test_the_average_is_the_sum_of_what_the_steps_had_with_falling_weights(small: TrainingConfig) -> None:
    generator = new_generator(small.network, seed=0)
    averaged = Averaged(generator, decay=0.6)
    bias = generator.decoder.AMP_Decoder_output_conv.bias
    expected = bias.detach().clone()
    for step in range(30):
        with torch.no_grad():
            bias.copy_(torch.full_like(bias, float(step)))
        averaged.follow(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert torch.allclose(averaged.generator.decoder.AMP_Decoder_output_conv.bias, expected)
    assert 26 < float(expected[0]) < 29
    same = generator.encoder.embed_pha.weight, averaged.generator.encoder.embed_pha.weight
    assert torch.allclose(*same) and same[0] is not same[1]
    assert not any(each.requires_grad for each in averaged.generator.parameters())


@pytest.mark.slow
def test_the_result_is_the_average_and_a_resumed_run_goes_on_with_both(
    tmp_path: Path, small: TrainingConfig, folder: Path
) -> None:
    config = small.changed({"optimiser": {"learning_rate": 1e-3, "average_decay": 0.9}}, "the test")
    whole = run(config, folder, tmp_path / "whole")
    half = replace(config, run=replace(config.run, steps=3))
    run(half, folder, tmp_path / "parts")
    run(config, folder, tmp_path / "parts", resume=True)
    (mine, state), (theirs, _) = (RunFolder(tmp_path / name).read(6) for name in ("parts", "whole"))
    raw = state["steps"]["weights"]
    for part, saved in mine.items():
        assert all(torch.equal(saved[key], theirs[part][key]) for key in saved)
        assert all(torch.equal(raw[part][key], whole.steps.generator.weights()[part][key]) for key in raw[part])
    key = "embed_pha.weight"
    assert not torch.equal(raw["encoder"][key], mine["encoder"][key])


def test_averaging_can_begin_and_end_when_a_run_goes_on(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    run(small, folder, tmp_path)
    plain, _ = RunFolder(tmp_path).read(6)
    key = "embed_pha.weight"
    more = small.changed({"run": {"steps": 9}, "optimiser": {"average_decay": 0.999}}, "")
    material = Material.find(folder, validation=None, clips=1, seed=small.run.seed)
    begun = Training(more, material, RunFolder(tmp_path), HERE, resume=True)
    for generator in (begun.steps.generator, begun.steps.result):
        assert torch.equal(generator.weights()["encoder"][key], plain["encoder"][key])
    run(more, folder, tmp_path, resume=True)
    averaged, state = RunFolder(tmp_path).read(9)
    without = small.changed({"run": {"steps": 12}}, "")
    ended = Training(without, material, RunFolder(tmp_path), HERE, resume=True)
    found = ended.steps.result.weights()["encoder"][key]
    assert torch.equal(found, state["steps"]["weights"]["encoder"][key])
    assert not torch.equal(found, averaged["encoder"][key])


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_best_checkpoint_is_kept_beyond_the_others(
    tmp_path: Path, small: TrainingConfig, folder: Path, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 1.0, 2.0, 1.5])
    saved: list[dict[str, torch.Tensor]] = []

    def validate(generator: Any, *given: Any, **options: Any) -> dict[str, float]:
        saved.append({key: value.clone() for key, value in generator.weights()["encoder"].items()})
        return {"lsd": 1.0, "score": next(scores)}

    monkeypatch.setattr("apcodec_training.training.validate", validate)
    config = small.changed(
        {"run": {"validate_every": 2, "keep_checkpoints": 1}, "optimiser": {"average_decay": decay}}, "the test"
    )
    training = run(config, folder, tmp_path)
    best = RunFolder(tmp_path / "best")
    assert best.steps == [2] and RunFolder(tmp_path).steps == [6]
    assert RunFolder(tmp_path).best_score(training.material.digest) == 1.0
    assert RunFolder(tmp_path).best_score("other files") == float("inf")
    kept = torch.load(best.file("encoder", 2), weights_only=True)["encoder"]
    assert all(torch.equal(kept[key], saved[1][key]) for key in kept)
    assert (best.path / "config.json").read_text() == (tmp_path / "config.json").read_text()
