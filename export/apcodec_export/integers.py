"""The 8-bit variant of a bundle: calibrated on the shipped clips, and judged by what it does to codes and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.forms import form_of, layer_paths
from apcodec_export.judgement import decibels
from apcodec_export.quantization import quantized

MAX_DISTANCE = 0.05
"""How much farther from the original the decoded audio may be than that of float32: log-spectral distance in decades of
power. A tenth of what one codebook less costs the published model."""
MIN_AGREEMENT = 0.75
"""Share of equal codes over all codebooks, on real signals."""
_WINDOW, _HOP, _FLOOR = 2048, 512, 1e-8


@dataclass(slots=True)
class IntegerJudgement:
    """What 8-bit products cost.

    Attributes:
        agreement: The lowest share of equal codes over the real signals, by codebook.
        snr: Decibels between the audio of the same codes, by signal.
        distance: How much the log-spectral distance to the original grows, by real signal; from audio to audio.
    """

    agreement: list[float] = field(default_factory=list)
    snr: dict[str, float] = field(default_factory=dict)
    distance: dict[str, float] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Why this precision is not advised, one line each."""
        found = []
        if (share := float(np.mean(self.agreement))) < MIN_AGREEMENT:
            found.append(f"only {share:.1%} of the codes are those of float32 (limit {MIN_AGREEMENT:.0%})")
        if far := [f"{name} {value:+.3f}" for name, value in self.distance.items() if not value <= MAX_DISTANCE]:
            found.append(f"the log-spectral distance grows by {', '.join(far)} (limit {MAX_DISTANCE:g})")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For ``model.json``."""
        return {
            "code_agreement": [round(share, 4) for share in self.agreement],
            "snr_db": {label: round(value, 1) for label, value in self.snr.items()},
            "log_spectral_distance": {label: round(value, 4) for label, value in self.distance.items()},
            "advised": not self.problems,
        }


@torch.no_grad()
def integer_graphs(checkpoint: Checkpoint, models: Mapping[str, bytes]) -> dict[str, bytes]:
    """The graphs with the network in them with 8-bit products, calibrated on one window of real signals.

    Args:
        checkpoint: The model.
        models: Its exported float32 graphs, serialized, by name.

    Returns:
        The graphs, serialized, by name.
    """
    form = form_of(checkpoint)
    plan = form.integer
    held = _signals(checkpoint)
    feeds = [form.feeds(held[name]) for name in REAL]
    products = [path.partition(".") for path in layer_paths(checkpoint, plan) if plan.quantizes(path)]
    made = {}
    for label, model in form.before_integers(models).items():
        own = [name for part, _, name in products if part == label]
        made[label] = quantized(model, own, [each[label] for each in feeds])
    return {label: model.SerializeToString(deterministic=True) for label, model in made.items()}


@torch.no_grad()
def judge_integers(checkpoint: Checkpoint, models: Mapping[str, bytes]) -> IntegerJudgement:
    """Compare 8-bit graphs, as ONNX Runtime runs them, with the model in float32: one default window per signal."""
    form = form_of(checkpoint)
    model, exported = form.model(), form.exported(models)
    result = IntegerJudgement()
    for name, audio in _signals(checkpoint).items():
        codes = model.encode(audio)
        expected = model.decode(codes)
        result.snr[name] = decibels(expected, exported.decode(codes))
        if name in REAL:
            found = exported.encode(audio)
            shares = (found == codes).float().mean(dim=(0, 2)).tolist()
            result.agreement = [min(pair) for pair in zip(shares, result.agreement or shares, strict=True)]
            decoded = exported.decode(found)
            result.distance[name] = _distance(audio, decoded, form.late) - _distance(audio, expected, form.late)
    return result


def _signals(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The reference signals by name, (1, N) each."""
    spec = checkpoint.network.spec()
    held = reference_signals(spec.sample_rate, spec.call_samples(spec.judged_latents))
    return {name: torch.from_numpy(signal)[None] for name, signal in held.items()}


def _distance(original: Tensor, decoded: Tensor, late: int) -> float:
    """The log-spectral distance in decades of power, as APCodec's authors measure it.

    Args:
        original: Audio (1, N).
        decoded: (1, N) or longer.
        late: Samples by which it lags behind.
    """
    window = torch.hann_window(_WINDOW)
    decoded = decoded[:, late:]
    length = min(original.shape[1], decoded.shape[1])
    spectra = [
        torch.stft(clip[:, :length], _WINDOW, _HOP, window=window, return_complex=True).abs().square()
        for clip in (original, decoded)
    ]
    first, second = (power.clamp(min=_FLOOR).log10() for power in spectra)
    return float((first - second).square().mean(dim=1).sqrt().mean())
