"""A step by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from apcodec_training.config import TrainingConfig
from apcodec_training.discriminators import Discriminators, Judgement
from apcodec_training.processes import Processes
from apcodec_training.start import new_generator
from apcodec_training.steps import Steps


@pytest.mark.parametrize("samples", [0, 300, 1240])
def test_discriminators_see_one_part_of_a_segment_and_another_in_each_step(
    small: TrainingConfig, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    judged = Discriminators.forward

    def looking(self: Discriminators, audio: torch.Tensor) -> tuple[list[Judgement], list[Judgement]]:
        seen.append(audio.detach().clone())
        return judged(self, audio)

    monkeypatch.setattr(Discriminators, "forward", looking)
    torch.manual_seed(0)
    config = replace(small, discriminators=replace(small.discriminators, samples=samples))
    steps = Steps(config, new_generator(config.network, 0), Processes(0, 1, torch.device("cpu")))
    segments = 0.1 * torch.randn(4, 1240)
    places = []
    for step in range(3):
        seen.clear()
        steps(segments, step, 1e-4)
        both, original, decoded = seen
        length = samples or 1240
        (place,) = (at for at in range(1241 - length) if torch.equal(segments[:, at : at + length], original))
        assert torch.equal(both, torch.cat((original, decoded)))
        places.append(place)
    assert len(set(places)) == (3 if 0 < samples < 1240 else 1)
