"""Validation: the deployed model's own audio, and the metrics that the benchmarks measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import FAMILIES

import apcodec_deploy
from apcodec_benchmarks.metrics.catalogue import measure
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_training.config import TrainingConfig
from apcodec_training.generator import Generator
from apcodec_training.material import Material
from apcodec_training.validation import METRICS, Heard, validate


@pytest.fixture
def generator(small: TrainingConfig) -> Generator:
    made = random_checkpoint(small.network)
    return Generator(made.network, made.encoder, made.decoder).train()


def test_metrics_are_means_over_clips(generator: Generator, folder: Path) -> None:
    recordings = Material.find(folder, validation=None, clips=0, seed=0).training[:3]
    heard: list[Heard] = []
    found = validate(generator, recordings, 0.75, heard=heard.append)
    assert [clip.name for clip in heard] == [each.name for each in recordings]
    assert [len(clip.original) for clip in heard] == [min(36_000, round(each.seconds * 48_000)) for each in recordings]
    expected = [measure(clip.original, clip.decoded, 48_000, METRICS) for clip in heard]
    assert found["lsd"] == pytest.approx(np.mean([each["lsd"] for each in expected]))
    assert 0 < found["codes_used"] <= 1
    assert generator.training, "training goes on in the mode it was in"


def test_nothing_to_validate_with_gives_nothing(generator: Generator) -> None:
    assert validate(generator, (), 1.0) == {}


def test_what_is_heard_is_what_the_exported_model_says(folder: Path, grn_bundle: Path) -> None:
    made = Checkpoint.load(CheckpointFiles.find(FAMILIES["grn"]))
    audio = Material.find(folder, validation=None, clips=0, seed=0).training[0]
    heard: list[Heard] = []
    validate(Generator(made.network, made.encoder, made.decoder), [audio], 0.5, heard=heard.append)
    with apcodec_deploy.load(grn_bundle) as codec:
        decoded = codec.decode(codec.encode(heard[0].original, 48_000))
    noise = decoded - heard[0].decoded
    assert 10 * np.log10(np.mean(decoded**2) / np.mean(noise**2)) > 60
