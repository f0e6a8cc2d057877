"""Losses: the published code's own numbers, their definitions written out, and where their gradients go."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FAMILIES
from torch import Tensor

from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_training.config import TrainingConfig
from apcodec_training.distillation import TERMS
from apcodec_training.generator import Generator
from apcodec_training.loss_weights import LossWeights
from apcodec_training.losses import anti_wrapped, phase_losses, total
from apcodec_training.spectra import LogMel, Spectrum
from apcodec_training.start import new_generator

GOLDEN = FAMILIES["grn"]


@pytest.fixture(scope="module")
def golden() -> tuple[Generator, dict[str, Any], dict[str, float]]:
    """The golden checkpoint, its clip, and every loss that the published code found."""
    checkpoint = Checkpoint.load(CheckpointFiles.find(GOLDEN))
    values = json.loads((GOLDEN / "losses_speech_7960.json").read_text())
    return (
        Generator(checkpoint.network, checkpoint.encoder, checkpoint.decoder),
        dict(np.load(GOLDEN / "speech_7960.npz")),
        values,
    )


def test_losses_are_those_of_the_published_code(golden: tuple[Generator, dict[str, Any], dict[str, float]]) -> None:
    generator, clip, expected = golden
    logamp, phase, audio = (torch.from_numpy(clip[name])[None] for name in ("logamp", "phase", "audio"))
    spectrum = Spectrum(logamp, phase, *generator.stft.spectrum(audio))
    found = generator.reconstruct(spectrum, audio.shape[1]).losses
    found.pop("audio_amplitude")  # which is not published
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)
    weights = LossWeights()
    by_hand = (
        45 * expected["amplitude"]
        + 100 * (expected["instantaneous_phase"] + expected["group_delay"] + expected["phase_time_difference"])
        + 20 * (expected["stft_consistency"] + 2.25 * (expected["real_l1"] + expected["imag_l1"]))
        + 45 * (expected["mel_l1"] + expected["mel_mse"])
        + 10 * expected["codebook"]
        + 2.5 * expected["commitment"]
    )
    assert float(total(found, weights)) == pytest.approx(by_hand, rel=1e-4)


def test_spectra_are_those_of_the_exported_graph(golden: tuple[Generator, dict[str, Any], dict[str, float]]) -> None:
    generator, clip, _ = golden
    audio = torch.from_numpy(clip["audio"])[None]
    found = generator.spectrum(torch.cat((audio, torch.zeros_like(audio), torch.full_like(audio, -0.25))))
    logamp, phase = generator.stft(torch.cat((audio, torch.zeros_like(audio), torch.full_like(audio, -0.25))))
    torch.testing.assert_close(found.logamp, logamp)
    # Not modulo a whole turn: the encoder sees +pi and -pi as far apart.
    torch.testing.assert_close(found.phase, phase, atol=1e-5, rtol=0)


def test_losses_are_named_as_their_weights() -> None:
    generator = new_generator(TrainingConfig().changed({"network": {"num_layers": 1}}, "").network, seed=0)
    names = set(generator(torch.randn(1, 20_120) / 10).losses)
    assert names - set(generator(torch.randn(1, 1240) / 10).losses) == {"unintelligibility"}  # too short for it
    adversarial = {f"{family}_{kind}" for family in ("period", "resolution") for kind in ("adversarial", "features")}
    assert names | adversarial | TERMS.keys() == set(LossWeights.__dataclass_fields__)


def test_an_angle_is_the_same_after_whole_turns() -> None:
    angle = torch.linspace(-3.1, 3.1, 63, dtype=torch.float64)
    for turns in (-2, 0, 1):
        torch.testing.assert_close(anti_wrapped(angle + turns * 2 * torch.pi), angle.abs())


def test_phase_losses_are_those_of_the_matrices_in_the_paper() -> None:
    random = torch.Generator().manual_seed(3)
    original, decoded = (torch.rand(2, 5, 7, generator=random, dtype=torch.float64) * 6 - 3 for _ in range(2))

    def steps(size: int) -> Tensor:
        """The difference matrix of the published code."""
        upper = torch.ones(size, size, dtype=torch.float64)
        return torch.triu(upper, diagonal=1) - torch.triu(upper, diagonal=2) - torch.eye(size, dtype=torch.float64)

    error = original - decoded
    delay = error.transpose(1, 2) @ steps(5)
    found = phase_losses(original, decoded)
    torch.testing.assert_close(found["group_delay"], anti_wrapped(delay).mean())
    torch.testing.assert_close(found["phase_time_difference"], anti_wrapped(error @ steps(7)).mean())


def test_the_audios_amplitude_is_that_of_a_transform_of_it(
    golden: tuple[Generator, dict[str, Any], dict[str, float]],
) -> None:
    generator, clip, _ = golden
    audio = torch.from_numpy(clip["audio"])[None]
    made = generator(audio)
    window = torch.hann_window(generator.network.win_size)
    logs = [
        torch.stft(
            each,
            generator.network.n_fft,
            generator.network.hop_size,
            generator.network.win_size,
            window,
            center=True,
            return_complex=True,
        )
        .abs()
        .square()
        .add(1e-9)
        .log()
        / 2
        for each in (audio, made.audio)
    ]
    expected = (logs[0] - logs[1]).square().mean()
    assert float(made.losses["audio_amplitude"].detach()) == pytest.approx(float(expected), rel=1e-3)


def test_mel_bands_are_slaney_triangles(small: TrainingConfig) -> None:
    bands = LogMel(small.network).bands
    width = small.network.sample_rate / small.network.n_fft
    # Each triangle has unit area over Hz wherever it is wide enough for the sum over bins to be an integral.
    torch.testing.assert_close(bands[40:].sum(dim=1) * width, torch.ones(40), rtol=0.02, atol=0)
    assert bands.argmax(dim=1).diff().min() >= 0


@pytest.mark.parametrize(
    ("loss", "silent"),
    [
        # A term of the amplitude says nothing to the phase's branch of the decoder, and the other way round.
        ("amplitude", r"decoder\..*(pha|PHA)|.*codebook"),
        ("instantaneous_phase", r"decoder\..*(logamp|AMP)|.*codebook"),
        ("group_delay", r"decoder\..*(logamp|AMP)|.*codebook"),
        ("phase_time_difference", r"decoder\..*(logamp|AMP)|.*codebook"),
        # Codebooks learn by their own loss alone: the gradient of all others goes straight past them to the encoder.
        ("stft_consistency", ".*codebook"),
        ("real_l1", ".*codebook"),
        ("imag_l1", ".*codebook"),
        ("mel_l1", ".*codebook"),
        ("mel_mse", ".*codebook"),
        ("audio_amplitude", ".*codebook"),
        ("unintelligibility", ".*codebook"),
        ("incoherence", ".*codebook"),
        ("log_spectral_distance", ".*codebook"),
        ("codebook", r"(?!.*codebook)"),
        # The last projection leads to the decoder only.
        ("commitment", r"decoder\.|.*(codebook|quantizers\.1\.out_proj)"),
    ],
)
def test_gradients_reach_what_they_should_and_nothing_else(small: TrainingConfig, loss: str, silent: str) -> None:
    torch.manual_seed(1)
    generator = new_generator(small.network, seed=2)
    learned = {name: each for name, each in generator.named_parameters() if each.requires_grad}
    for name, parameter in learned.items():
        if ".grn." in name:  # which start at zero and would hide a path
            torch.nn.init.normal_(parameter, 0, 0.1)
    samples = 24_280 if loss == "unintelligibility" else 1240
    generator(torch.randn(4, samples) / 10).losses[loss].backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in learned.values())
    reached = {name for name, each in learned.items() if each.grad is not None and each.grad.abs().max() > 0}
    assert reached == {name for name in learned if not re.match(silent, name)}


def test_a_silent_channel_and_digital_silence_have_finite_gradients(small: TrainingConfig) -> None:
    generator = new_generator(small.network, seed=0)
    with torch.no_grad():
        bias = generator.encoder.convnext_logamp[0].pwconv1.bias  # type: ignore[union-attr,operator]
        bias[0] = -100.0  # GELU makes exactly zero of it
    made = generator(torch.zeros(2, 1240))
    loss = total(made.losses, LossWeights())
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in generator.parameters())
