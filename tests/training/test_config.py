"""Configs: the published numbers, what is refused, and learning rates."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from apcodec_deploy.errors import TrainingError
from apcodec_export.network import PUBLISHED_48K
from apcodec_training.config import OptimiserConfig, TrainingConfig
from apcodec_training.presets import preset, read_config

SHORT = {"data": {"segment_samples": 920}}
FEW = {f"{family}_{kind}": 0.0 for family in ("period", "resolution") for kind in ("adversarial", "features")}
"""Weights without discriminators, which need longer segments themselves."""


def test_the_paper_preset_is_the_published_recipe() -> None:
    config = preset("paper")
    assert config == TrainingConfig()
    assert config.network == PUBLISHED_48K
    losses = config.losses
    assert (losses.amplitude, losses.group_delay, losses.stft_consistency) == (45, 100, 20)
    assert losses.real_l1 == losses.imag_l1 == 20 * 2.25
    assert (losses.codebook, losses.commitment, losses.resolution_features) == (10, 2.5, 0.1)
    assert (config.data.batch_size, config.data.segment_samples) == (16, 7960)
    assert config.discriminators.periods == (2, 3, 5, 7, 11)
    assert config.discriminators.resolutions == ((512, 20, 160), (1024, 40, 320), (2048, 80, 640))
    options = config.optimiser
    assert (options.learning_rate, options.beta1, options.beta2, options.decay) == (2e-4, 0.8, 0.99, 0.999)


def test_the_demo_preset_is_the_demo_model(golden_demo: dict[str, Any]) -> None:
    network = preset("demo").network
    assert (network.dim, network.intermediate_dim, network.num_layers) == (128, 256, 6)
    assert network.spec().bitrate == 6000
    assert {key: golden_demo[key] for key in ("n_fft", "hop_size", "win_size", "ratio", "latent_dim")} == {
        "n_fft": network.n_fft,
        "hop_size": network.hop_size,
        "win_size": network.win_size,
        "ratio": network.ratio,
        "latent_dim": network.latent_dim,
    }


@pytest.fixture
def golden_demo() -> dict[str, Any]:
    """The numbers of the embedded model."""
    import apcodec_deploy

    with apcodec_deploy.load() as codec:
        spec = codec.spec
        return {key: getattr(spec, key) for key in ("n_fft", "hop_size", "win_size", "ratio", "latent_dim")}


def test_a_config_survives_its_file(tmp_path: Path, small: TrainingConfig) -> None:
    file = tmp_path / "training.json"
    file.write_text(json.dumps(small.to_dict()))
    assert TrainingConfig().changed(read_config(file), "file") == small


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"optimizer": {}}, "no optimizer; it knows network, data, losses, optimiser"),
        ({"run": {"step": 1}}, "run has no step"),
        ({"run": 3}, "a section of keys is expected"),
        ({"run": {"steps": "many"}}, "'many'; a value of type int"),
        ({"run": {"steps": True}}, "True; a value of type int"),
        ({"run": {"seed": 2**63}}, "less than 2**63 is expected"),
        ({"losses": {"mel_l1": 10**400}}, "a value of type float"),
        ({"run": {"steps": 0}}, "my.toml: run: steps is 0; more than 0"),
        ({"run": {"precision": "int8"}}, "one of float32, bfloat16, float16"),
        ({"losses": {"mel_l1": -1}}, "mel_l1 is -1.0; 0 or more"),
        ({"losses": {"mel_l1": float("nan")}}, "a value of type float"),
        ({"data": {"gain_db": [3, 1]}}, "the least comes first"),
        ({"data": {"gain_db": [3]}}, "2 values are expected"),
        ({"data": {"band_limited": 1.5}}, "a share from 0 to 1"),
        ({"data": {"lowest_rate": 10}}, "a sample rate of 10 Hz"),
        ({"data": {"segment_samples": 8000}}, "7960 are 200 frames"),
        ({"data": {"segment_samples": 1000}}, "a whole number of latents"),
        ({"data": {"segment_samples": 920}}, "more than 1024 are expected"),
        ({"discriminators": {"samples": 1000}}, "discriminators.samples is 1000; more than 1024"),
        ({"discriminators": {"samples": 8000}}, "discriminators.samples is 8000; at most 7960"),
        ({"losses": {"unintelligibility": 1.0}}, "at least 19854 are expected where losses.unintelligibility"),
        ({"losses": FEW | {"incoherence": 1.0}, **SHORT}, "at least 1024 are expected where losses.incoherence"),
        ({"losses": FEW | {"log_spectral_distance": 1.0}, **SHORT}, "at least 1025 are expected where losses.log_spec"),
        ({"network": {"ratio": 7}}, "ratio"),
        ({"discriminators": {"resolutions": [[512, 20]]}}, "3 values are expected"),
        ({"discriminators": {"resolutions": [[512, 0, 20]]}}, "hop <= window <= n_fft"),
        ({"discriminators": {"periods": [0]}}, "positive ones"),
        ({"optimiser": {"beta1": 1.0}}, "less than 1"),
    ],
)
def test_what_makes_no_run_is_refused_and_named(values: dict[str, Any], told: str) -> None:
    with pytest.raises(TrainingError) as caught:
        TrainingConfig().changed(values, "my.toml")
    assert told in str(caught.value)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_text("[run]\nsteps = 3\n", encoding="utf-8-sig")
    assert read_config(file) == {"run": {"steps": 3}}


def test_a_file_that_is_no_config_is_named(tmp_path: Path) -> None:
    for text in ("run = [", "\x00"):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(TrainingError, match=r"bad\.toml cannot be read"):
            read_config(tmp_path / "bad.toml")
    with pytest.raises(TrainingError, match="there is no preset"):
        preset("large")


def test_the_published_rate_falls_by_the_epoch() -> None:
    options = OptimiserConfig()
    assert options.rate(0, 0, 100) == 2e-4
    assert options.rate(999, 500, 1000) == pytest.approx(2e-4 * 0.999**500)


def test_a_cosine_rises_to_its_rate_and_falls_to_its_share() -> None:
    options = OptimiserConfig(schedule="cosine", warmup_steps=10, learning_rate=1.0, final_share=0.1)
    rates = [options.rate(step, 0, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == rates[9] > 0.97
    assert rates[55] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.55)))
    assert rates[100] == pytest.approx(0.1)
