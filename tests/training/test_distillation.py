"""Learning from a teacher: what is compared with what, what a student starts from, and that such a run goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apcodec_deploy.errors import TrainingError
from apcodec_export.checkpoint import CheckpointFiles, random_checkpoint
from apcodec_export.model.causal import CausalStft
from apcodec_export.network import NetworkConfig, streamable
from apcodec_training.config import TrainingConfig
from apcodec_training.distillation import TERMS, Features, Teacher
from apcodec_training.generator import Generator
from apcodec_training.material import Material
from apcodec_training.presets import preset
from apcodec_training.processes import Processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.spectra import Spectrum
from apcodec_training.training import Reporting, Training
from apcodec_training.transplant import takes_after, transplant

CPU = torch.device("cpu")
CAUSAL = {"network": {"context": 0}, "data": {"segment_samples": 1640}}


def generator(network: NetworkConfig, seed: int = 0) -> Generator:
    made = random_checkpoint(network, seed)
    return Generator(network, made.encoder, made.decoder)


def spectrum(network: NetworkConfig, seed: int = 1) -> Spectrum:
    audio = torch.randn(2, 1640, generator=torch.Generator().manual_seed(seed))
    return Spectrum.of(*CausalStft(streamable(network).spec()).spectrum(audio))


def seen(student: Generator, original: Spectrum, latent: Tensor | None = None) -> Features:
    encoder: Features = {}
    decoder: Features = {}
    own = student.encode(original, encoder)
    student.decode(own if latent is None else latent, decoder)
    return {f"encoder.{key}": value for key, value in encoder.items()} | {
        f"decoder.{key}": value for key, value in decoder.items()
    }


def run(config: TrainingConfig, audio: Path, output: Path, **options: Any) -> Training:
    material = Material.find(audio, validation=None, clips=config.data.validation_clips, seed=config.run.seed)
    with RunFolder(output):
        training = Training(config, material, RunFolder(output), Processes(0, 1, CPU), **options)
        training.run()
    return training


def lines(output: Path) -> list[dict[str, str]]:
    with (output / "losses.csv").open(newline="") as file:
        return [{key: value for key, value in line.items() if key != "seconds"} for line in csv.DictReader(file)]


@pytest.fixture
def teacher_folder(tmp_path: Path, small: TrainingConfig) -> Path:
    """A checkpoint of the small network, as a run leaves it."""
    output = RunFolder(tmp_path / "teacher")
    with output:
        output.write_config(small)
        output.write(1, generator(small.network).weights(), {}, 0)
    return output.path


@pytest.mark.slow
def test_an_interrupted_distillation_goes_on_as_if_it_had_not_been(
    small: TrainingConfig, folder: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    files = CheckpointFiles.find(teacher_folder)
    config = small.changed(CAUSAL | {"discriminators": {"first_step": 2}}, "the test")
    said: list[str] = []
    run(config, folder, tmp_path / "whole", teacher=files, reporting=Reporting(say=said.append))
    assert "starting from its weights" in said[0]

    def stop(done: int, losses: dict[str, float]) -> None:
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(config, folder, tmp_path / "parts", teacher=files, reporting=Reporting(step=stop))
    with pytest.raises(TrainingError, match="was there until now, no teacher is named"):
        run(config, folder, tmp_path / "parts", resume=True)
    run(config, folder, tmp_path / "parts", teacher=files, resume=True)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    last = lines(tmp_path / "whole")[-1]
    assert all(float(last[term]) > 0 for term in TERMS), "each term is logged"
    held = torch.load(tmp_path / "whole" / "encoder_00000006", weights_only=True)["encoder"]
    assert not any("teacher" in key for key in held)


def test_a_student_of_other_codebooks_starts_from_weights_of_its_own(
    small: TrainingConfig, folder: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    config = small.changed(CAUSAL | {"run": {"steps": 1}}, "").changed({"network": {"num_codebooks": 3}}, "")
    options = {"teacher": CheckpointFiles.find(teacher_folder), "reporting": Reporting(say=said.append)}
    run(config, folder, tmp_path / "run", **options)
    assert "weights of its own" in said[0] and float(lines(tmp_path / "run")[-1]["distil_blocks"]) > 0
    with pytest.raises(TrainingError, match=r"dim is 16 in the teacher and 24 in the student; num_layers is 1 in"):
        run(config.changed({"network": {"dim": 24, "num_layers": 2}}, ""), folder, tmp_path / "none", **options)


@pytest.fixture
def network(small: TrainingConfig) -> NetworkConfig:
    return small.network


def test_a_teacher_that_is_its_student_is_no_distance_away(network: NetworkConfig) -> None:
    checkpoint = random_checkpoint(streamable(network, 6))
    student = Generator(checkpoint.network, checkpoint.encoder, checkpoint.decoder)
    teacher = Teacher(checkpoint, checkpoint.network, CPU)
    original = spectrum(network)
    latent = student.encode(original)
    quantized = checkpoint.encoder.quantizer.decode(checkpoint.encoder.quantizer.encode(latent))
    assert all(float(value) == 0 for value in teacher.losses(original, seen(student, original, quantized)).values())


@pytest.mark.parametrize("context", [0, 6])
def test_layers_without_kernels_are_equal_where_teacher_and_student_see_the_same(
    network: NetworkConfig, context: int
) -> None:
    """With taps of the middle only, a centred teacher is causal: after the transplant every layer agrees exactly."""
    made = random_checkpoint(network)
    with torch.no_grad():
        for part in (made.encoder, made.decoder):
            for name, module in part.named_modules():
                if hasattr(module, "grn") and module.grn is not None:
                    module.grn.gamma.zero_()
                weight = getattr(module, "weight_v", None) if hasattr(module, "weight_v") else None
                if weight is None and name.endswith(("dwconv", "embed_logamp", "embed_pha")):
                    weight = module.weight
                if weight is not None and weight.shape[2] == 7:
                    weight[:, :, :3] = 0  # the teacher's first frames would lack these, which a student's latents have
                    weight[:, :, 4:] *= "downsample" in name
    student = generator(streamable(network, context), seed=5)
    assert takes_after(student.network, network)
    teacher = Teacher(made, student.network, CPU)
    original = spectrum(network)
    transplant(teacher, student, teacher.mean_responses([original]))
    quantizer = made.encoder.quantizer
    shifted = original.logamp[:, :, 4:], original.phase[:, :, 4:]
    latent = quantizer.decode(quantizer.encode(made.encoder(*shifted)))
    losses = teacher.losses(original, seen(student, original, latent))
    assert max(float(value) for value in losses.values()) < 1e-5, losses


def test_a_scale_starts_at_the_mean_response_of_grn(network: NetworkConfig) -> None:
    made = random_checkpoint(network)
    student = generator(streamable(network))
    teacher = Teacher(made, student.network, CPU)
    spectra = [spectrum(network, seed) for seed in (1, 2)]
    responses = teacher.mean_responses(spectra)
    transplant(teacher, student, responses)
    grn, affine = made.encoder.convnext_pha[0].grn, student.encoder.convnext_pha[0].affine  # type: ignore[union-attr]
    assert torch.equal(affine.bias, grn.beta.flatten())  # type: ignore[union-attr]
    ratio = (affine.weight - 1) / grn.gamma.flatten()  # type: ignore[union-attr,operator]
    assert 0.8 < float(ratio.mean()) < 1.2, "normalised norms are one on average over the channels"


def test_presets_of_the_streamable_model() -> None:
    assert preset("paper-s").network == streamable(preset("paper").network)
    assert preset("demo-s").network.causal and preset("demo-s").data.segment_samples == 7720
    six = preset("demo-s").changed({"network": {"context": 6}}, "the test")
    assert six.network == streamable(preset("demo").network, 6)
    assert TrainingConfig().changed(six.to_dict(), "a file") == six
    with pytest.raises(TrainingError, match="context is 'six'; 0 or more frames are expected"):
        preset("demo-s").changed({"network": {"context": "six"}}, "the test")
    with pytest.raises(TrainingError, match=r"segment_samples is 7960; a whole .*: 8040 are 208 frames, 26"):
        preset("demo-s").changed({"data": {"segment_samples": 7960}}, "the test")
