"""What half precision costs: measured in half precision, on the demo model and on networks made to fail."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.deployed.precision import HALF
from apcodec_export.judgement import HEADROOM, MIN_AGREEMENT, MIN_SNR, Judgement, judge

both_families = pytest.mark.parametrize(
    "family", ["grn", pytest.param("layerscale", marks=pytest.mark.slow)], indirect=True
)


@both_families
def test_both_families_keep_codes_and_audio_in_half_precision(checkpoint: Checkpoint) -> None:
    judgement = judge(checkpoint, HALF)
    assert judgement.problems == []
    assert len(judgement.agreement) == checkpoint.network.num_codebooks
    assert judgement.snr.keys() == reference_signals(48_000, 10).keys() > set(REAL)
    assert 0 < max(judgement.largest.values()) < 65504 / HEADROOM


@pytest.mark.slow
@both_families
def test_a_plan_that_keeps_everything_changes_next_to_nothing(checkpoint: Checkpoint) -> None:
    judgement = judge(checkpoint, replace(HALF, float32=("*",)))
    assert min(judgement.agreement) > 0.98  # a near-tie takes the codebooks after it along
    assert min(judgement.snr.values()) > 90
    assert judgement.largest == {}


def test_values_that_half_precision_cannot_hold_are_named(unpublished_grn: Checkpoint) -> None:
    loud = replace(unpublished_grn, encoder=copy.deepcopy(unpublished_grn.encoder))
    loud.encoder.embed_pha.weight.mul_(1e5)
    judgement = judge(loud, HALF)
    assert not judgement.in_range
    assert judgement.largest["encoder.phase.embed"] == float("inf")
    assert any("encoder.phase.embed inf" in problem for problem in judgement.problems)
    kept = judge(loud, replace(HALF, float32=("encoder.phase.embed",)))
    assert kept.in_range


def test_problems_say_what_was_found_and_what_the_limit_is() -> None:
    bad = Judgement(
        limit=65504, agreement=[1.0, 0.5], snr={"speech": 12.3, "silence": float("nan")}, largest={"a": 9e3}
    )
    codes, audio, size = bad.problems
    assert "50.0% of the codes" in codes
    assert "speech 12.3, silence nan dB (limit 40)" in audio
    assert "a 9000" in size
    assert not bad.to_dict()["advised"]


@pytest.fixture
def demo(demo_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(demo_checkpoint))


def _clip(path: Path) -> Tensor:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(np.asarray(soxr.resample(audio[:, 0], rate, 48_000), np.float32))


@pytest.mark.slow
def test_the_demo_model_keeps_real_speech_and_music(demo: Checkpoint, examples: Path) -> None:
    """At least 97 % of each codebook's codes and 40 dB, also loud; nothing near the range's end."""
    for path in sorted(examples.glob("*.*")):
        if path.suffix != ".md":
            clip = _clip(path)[: 2 * 48_000]
            judgement = judge(demo, HALF, {"speech": clip, "speech +24 dB": clip * 10 ** (24 / 20)})
            assert min(judgement.agreement) >= MIN_AGREEMENT, path
            assert min(judgement.snr.values()) >= MIN_SNR, path
            assert judgement.in_range, path


@pytest.mark.slow
def test_the_demo_model_keeps_a_long_clip(demo: Checkpoint, examples: Path) -> None:
    parts = [_clip(examples / name) for name in ("speech_female_48k.wav", "music_44k.ogg", "speech_male_44k.flac")]
    long = torch.cat(parts * 2)[: 12 * 48_000]
    assert len(long) == 12 * 48_000
    judgement = judge(demo, HALF, {"speech": long})
    assert judgement.problems == []
