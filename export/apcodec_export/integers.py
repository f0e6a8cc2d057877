"""The 8-bit variant of a bundle: calibrated on the shipped clips, and judged by what it does to codes and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_deploy.bundle import GRAPHS
from apcodec_deploy.ort import onnxruntime, session_options
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.precision import PrecisionPlan
from apcodec_export.graphs import layer_paths, reduced_graphs, to_onnx
from apcodec_export.judgement import decibels
from apcodec_export.model.transforms import Istft, Stft
from apcodec_export.quantization import Feed, quantized

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
def integer_graphs(checkpoint: Checkpoint, plan: PrecisionPlan) -> dict[str, bytes]:
    """Encoder and decoder with 8-bit products, serialized, calibrated on one default window of each real signal."""
    spec = checkpoint.network.spec()
    held = reference_signals(spec.sample_rate, spec.judged_latents * spec.samples_per_latent - 1)
    stft, quantizer = Stft(spec), checkpoint.encoder.quantizer
    feeds: dict[str, list[Feed]] = {"encoder": [], "decoder": []}
    for name in REAL:
        features = stft(torch.from_numpy(held[name])[None])
        quantized_latent = quantizer.decode(quantizer.encode(checkpoint.encoder(*features)))
        for label, values in (("encoder", features), ("decoder", (quantized_latent,))):
            inputs = (tensor.name for tensor in GRAPHS[label].inputs)
            feeds[label].append({name: value.numpy() for name, value in zip(inputs, values, strict=True)})
    products = [path.partition(".") for path in layer_paths(checkpoint, plan) if plan.quantizes(path)]
    made = {}
    for label, graph in reduced_graphs(checkpoint, plan).items():
        own = [name for part, _, name in products if part == label]
        made[label] = quantized(to_onnx(graph, checkpoint.fingerprint), own, feeds[label])
    return {label: model.SerializeToString(deterministic=True) for label, model in made.items()}


@torch.no_grad()
def judge_integers(checkpoint: Checkpoint, models: Mapping[str, bytes]) -> IntegerJudgement:
    """Compare 8-bit graphs, as ONNX Runtime runs them, with the model in float32: one default window per signal."""
    spec = checkpoint.network.spec()
    held = reference_signals(spec.sample_rate, spec.judged_latents * spec.samples_per_latent - 1)
    stft, istft, quantizer = Stft(spec), Istft(spec), checkpoint.encoder.quantizer
    sessions = {
        name: onnxruntime.InferenceSession(data, session_options(), providers=["CPUExecutionProvider"])
        for name, data in models.items()
    }

    def run(name: str, *inputs: Tensor) -> list[Tensor]:
        feed = {value.name: tensor.numpy() for value, tensor in zip(GRAPHS[name].inputs, inputs, strict=True)}
        return [torch.from_numpy(output) for output in sessions[name].run(None, feed)]

    result = IntegerJudgement()
    for name, signal in held.items():
        audio = torch.from_numpy(signal)[None]
        features = stft(audio)
        codes = quantizer.encode(checkpoint.encoder(*features))
        expected = istft(*checkpoint.decoder(quantizer.decode(codes)))
        result.snr[name] = decibels(expected, istft(*run("decoder", quantizer.decode(codes))))
        if name in REAL:
            found = quantizer.encode(run("encoder", *features)[0])
            shares = (found == codes).float().mean(dim=(0, 2)).tolist()
            result.agreement = [min(pair) for pair in zip(shares, result.agreement or shares, strict=True)]
            decoded = istft(*run("decoder", quantizer.decode(found)))
            result.distance[name] = _distance(audio, decoded) - _distance(audio, expected)
    return result


def _distance(original: Tensor, decoded: Tensor) -> float:
    """The log-spectral distance in decades of power, as APCodec's authors measure it, of audio (1, N) and longer."""
    window = torch.hann_window(_WINDOW)
    spectra = [
        torch.stft(clip[:, : original.shape[1]], _WINDOW, _HOP, window=window, return_complex=True).abs().square()
        for clip in (original, decoded)
    ]
    first, second = (power.clamp(min=_FLOOR).log10() for power in spectra)
    return float((first - second).square().mean(dim=1).sqrt().mean())
