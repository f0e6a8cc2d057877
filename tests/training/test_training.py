"""Whole runs: they learn, an interrupt saves what was learned, and bad input does not end them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from training_runs import HERE, lines, ready, train

from apcodec_deploy.errors import TrainingError
from apcodec_export.checkpoint import CheckpointFiles
from apcodec_training.config import TrainingConfig
from apcodec_training.material import Material
from apcodec_training.run_folder import RunFolder
from apcodec_training.training import Reporting, Training


@pytest.mark.slow
def test_a_small_model_learns_four_clips_by_heart(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    (tmp_path / "audio").mkdir()
    speech, _ = soundfile.read(folder / "clip 0.flac", dtype="float32")
    for index in range(4):
        soundfile.write(tmp_path / "audio" / f"{index}.wav", speech[index * 4000 :][:1240], 48_000, subtype="FLOAT")
    config = small.changed(
        {
            "network": {"dim": 48, "intermediate_dim": 96, "encoder_amp_channels": 48, "decoder_amp_channels": 48},
            "data": {"validation_clips": 0},
            "losses": {
                "period_adversarial": 0,
                "period_features": 0,
                "resolution_adversarial": 0,
                "resolution_features": 0,
            },
            "optimiser": {"learning_rate": 2e-3, "schedule": "cosine", "codebook_rate": 10.0},
            "run": {"steps": 150, "log_every": 10, "checkpoint_every": 150},
        },
        "the test",
    )
    train(config, tmp_path / "audio", tmp_path / "run")
    mel = [float(line["mel_l1"]) for line in lines(tmp_path / "run")]
    assert mel[-1] < 0.25 * mel[0]


def test_an_interrupt_waits_for_the_step_and_saves_it(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    config = small.changed({"run": {"log_every": 4}}, "the test")
    train(config, folder, tmp_path / "whole")

    def interrupt(done: int, losses: dict[str, float]) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGTERM)  # in the middle of whatever the run does next

    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, tmp_path / "run", reporting=Reporting(step=interrupt, say=said.append))
    assert "saved step 2" in said[-1]
    assert signal.getsignal(signal.SIGTERM) == before
    train(config, folder, tmp_path / "run", resume=True)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole"), "the mean over steps 1 to 4 survives the interruption"


def breaks_after(training: Training, step: int, value: float) -> None:
    """Let a weight become a value after a step."""

    def stepped(done: int, losses: dict[str, float]) -> None:
        if done == step:
            with torch.no_grad():
                training.steps.generator.decoder.AMP_Decoder_output_conv.bias[3] = value

    training.reporting = Reporting(step=stepped)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_its_batch(
    tmp_path: Path, small: TrainingConfig, folder: Path
) -> None:
    training = ready(small, folder, tmp_path)
    breaks_after(training, 4, float("nan"))
    with pytest.raises(TrainingError, match=r"step 4 .*amplitude = nan.*not_finite_00000004_0\.npz"):
        training.run()
    held = np.load(tmp_path / "not_finite_00000004_0.npz")
    assert held["audio"].shape == (4, 1240) and len(held["sources"]) == 4
    number = 4 * small.data.batch_size
    assert np.array_equal(held["audio"][0], np.asarray(training.segments[number].audio))
    weights, _ = RunFolder(tmp_path).read(3)
    assert all(each.isfinite().all() for each in weights["decoder"].values())


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    training = ready(small, folder, tmp_path)
    breaks_after(training, 6, float("inf"))
    with pytest.raises(TrainingError, match="step 6 are not finite, so they are not saved"):
        training.run()
    assert RunFolder(tmp_path).newest == 3


def test_an_infinite_gradient_is_not_learned_from(
    tmp_path: Path, small: TrainingConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = ready(small.changed({"optimiser": {"gradient_norm": 10.0}}, ""), folder, tmp_path)
    before = training.steps.generator.weights()["decoder"]["embed_pha.weight"].clone()
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="gradient_norm = inf"):
        training.run()
    assert torch.equal(training.steps.generator.weights()["decoder"]["embed_pha.weight"], before)


def test_bad_files_are_listed_and_the_run_goes_on(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    shutil.copy(folder / "clip 0.flac", audio / "good.flac")
    (audio / "empty.wav").touch()
    data = bytearray((folder / "clip 2.flac").read_bytes())
    # Not to the end, which is looked at when a file is opened.
    data[len(data) // 5 : -len(data) // 20] = bytes(len(data[len(data) // 5 : -len(data) // 20]))
    (audio / "damaged.flac").write_bytes(bytes(data))
    said: list[str] = []
    config = small.changed({"data": {"validation_clips": 0}}, "the test")
    assert train(config, audio, tmp_path / "run", reporting=Reporting(say=said.append)).done == 6
    listed = (tmp_path / "run" / "skipped.txt").read_text()
    assert "empty.wav" in listed and "damaged.flac" in listed and "good.flac" not in listed
    assert sum("damaged.flac" in line for line in said) == 1
    shutil.rmtree(tmp_path / "run")
    (audio / "good.flac").unlink()
    with pytest.raises(TrainingError, match=r"too many files in turn could not be read, the last: .*damaged\.flac"):
        train(config.changed({"data": {"workers": 1}}, ""), audio, tmp_path / "run")


def test_a_bad_validation_file_is_listed_and_the_run_goes_on(
    tmp_path: Path, small: TrainingConfig, folder: Path
) -> None:
    (tmp_path / "validation").mkdir()
    soundfile.write(tmp_path / "validation" / "a.wav", np.full(48_000, np.nan), 48_000, subtype="FLOAT")
    shutil.copy(folder / "clip 0.flac", tmp_path / "validation" / "b.flac")
    config = small.changed({"run": {"validate_every": 3}}, "the test")
    material = Material.find(folder, validation=tmp_path / "validation", clips=2, seed=0)
    with RunFolder(tmp_path / "run") as output:
        Training(config, material, output, HERE).run()
    assert "a.wav" in (tmp_path / "run" / "skipped.txt").read_text()
    assert len((tmp_path / "run" / "validation.csv").read_text().splitlines()) == 4


def test_a_validation_without_a_readable_clip_is_told(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    (tmp_path / "validation").mkdir()
    soundfile.write(tmp_path / "validation" / "a.wav", np.full(48_000, np.nan), 48_000, subtype="FLOAT")
    material = Material.find(folder, validation=tmp_path / "validation", clips=2, seed=0)
    config, said = small.changed({"run": {"validate_every": 6}}, "the test"), list[str]()
    with RunFolder(tmp_path / "run") as output:
        Training(config, material, output, HERE, reporting=Reporting(say=said.append)).run()
    assert "step 6: no validation clip could be read, so best/ cannot be chosen" in said


def test_float16_is_not_for_a_cpu(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    with pytest.raises(TrainingError, match="float16, which is for CUDA"):
        ready(small.changed({"run": {"precision": "float16"}}, ""), folder, tmp_path)


def test_a_run_starts_from_a_trained_checkpoint(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    train(small, folder, tmp_path / "first")
    helped = small.changed(
        {"start": {"mean_spectrum": True, "codebooks_from_data": True, "steps_without_quantizer": 2}}, "the test"
    )
    files = CheckpointFiles.find(tmp_path / "first")
    (tmp_path / "second").mkdir()
    training = ready(helped, folder, tmp_path / "second", start=files)
    expected = torch.load(tmp_path / "first" / "encoder_00000006", weights_only=True)["encoder"]
    found = training.steps.generator.weights()["encoder"]
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    training.run()
    assert lines(tmp_path / "second")[0]["codebook"] != "", "trained weights need no warm-up"
    with pytest.raises(TrainingError, match="dim is 16 there and 24 here"):
        ready(small.changed({"network": {"dim": 24}}, ""), folder, tmp_path / "third", start=files)


def test_bfloat16_trains(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    for precision in ("bfloat16", "float32"):
        train(small.changed({"run": {"precision": precision}}, "the test"), folder, tmp_path / precision)
    low, full = (float(lines(tmp_path / precision)[-1]["mel_l1"]) for precision in ("bfloat16", "float32"))
    assert low != full and low == pytest.approx(full, rel=0.05)


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch about itself
def test_a_compiled_run_learns_the_same(
    tmp_path: Path, small: TrainingConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config as inductor  # which takes a second

    # Without vector instructions the C++ compiler takes a third of the time, most of which goes into their headers.
    monkeypatch.setattr(inductor.cpp, "simdlen", 1)
    for compiled in (False, True):
        sound = {"incoherence": 50.0, "log_spectral_distance": 50.0}
        config = small.changed({"run": {"compiled": compiled, "steps": 3}, "losses": sound}, "the test")
        train(config, folder, tmp_path / str(compiled))
    plain, compiled_too = (lines(tmp_path / str(compiled)) for compiled in (False, True))
    for one, other in zip(plain, compiled_too, strict=True):
        for name in ("amplitude", "mel_l1", "codebook"):
            assert float(other[name]) == pytest.approx(float(one[name]), rel=1e-3)
        for name in sound:  # which are those of noise here, and so differ more
            assert float(other[name]) == pytest.approx(float(one[name]), rel=0.02)


def test_a_compiled_run_needs_a_compiler(
    tmp_path: Path, small: TrainingConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TrainingError, match=r"needs a C\+\+ compiler"):
        ready(small.changed({"run": {"compiled": True}}, ""), folder, tmp_path)


def test_one_family_of_discriminators_is_enough(tmp_path: Path, small: TrainingConfig, folder: Path) -> None:
    train(small.changed({"losses": {"period_adversarial": 0, "period_features": 0}}, ""), folder, tmp_path)
    last = lines(tmp_path)[-1]
    assert last["period_discriminator"] == "" and last["resolution_discriminator"] != ""
