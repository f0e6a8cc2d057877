"""Is a graph the model? Every graph against PyTorch, over lengths, batches and signals that have broken exports before.

Each graph gets the inputs that PyTorch's own steps produced, so an error shows where it is made. Where float32 cannot
agree to the bit, the measures are the codec's: share of equal codes, spectrum and audio relative to their peak.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import ExportError
from apcodec_deploy.ort import onnxruntime, session_options
from apcodec_deploy.signatures import GraphSignature
from apcodec_deploy.spec import ModelSpec
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.graphs import TRACED_LATENTS, Graph
from apcodec_export.model.transforms import LOG_FLOOR, Istft, Stft

Arrays = list[NDArray[Any]]

LIMITS = {
    "stft": 1e-4,
    "encoder": 1e-3,
    "quantizer": 0.005,
    "dequantizer": 1e-4,
    "decoder": 1e-3,
    "istft": 1e-4,
    "round_trip": 1e-3,
}
"""The largest error of each graph: relative to the peak, for the quantizer the share of other codes; ``round_trip`` is
the audio of the same codes through all three graphs (1e-3 of the peak is 60 dB)."""
REDUCED_LIMIT = 0.05
"""The largest error of a graph of reduced precision: rounding at other places. A wrong graph is off by far more."""
BATCHES = (("speech",), ("music", "silence"), ("speech +24 dB", "constant", "music"))
_SILENT = 1e-6
"""Peaks below this count as silence: errors are then absolute."""


@dataclass(slots=True)
class Check:
    """The worst that was seen of one graph."""

    limit: float
    cases: int = 0
    worst: float = 0.0
    worst_case: str = ""
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, error: float) -> None:
        """Count one case."""
        self.cases += 1
        if not math.isfinite(error) or error > self.limit:
            self.failures.append(f"{case}: {error:.3g}")
        if self.cases == 1 or not error <= self.worst:
            self.worst, self.worst_case = error, case

    def to_dict(self) -> dict[str, Any]:
        """For ``model.json``."""
        return {
            "limit": self.limit,
            "cases": self.cases,
            "worst": float(f"{self.worst:.3g}"),
            "worst_case": self.worst_case,
        }


def verify(checkpoint: Checkpoint, models: Mapping[str, bytes]) -> dict[str, Any]:
    """Compare exported graphs with the checkpoint they came from.

    Args:
        checkpoint: The model in PyTorch.
        models: The six graphs, serialized, by name.

    Returns:
        What was checked and the worst error of each graph, as it stands in ``model.json``.

    Raises:
        ExportError: A graph does not load, has other names, types or axes than its signature, or differs from PyTorch
            by more than its limit; every failure is named.
    """
    graphs = checkpoint.network.spec().graphs
    sessions = {name: session_of(data, graphs[name]) for name, data in models.items()}
    checks = {name: Check(limit) for name, limit in LIMITS.items()}
    spec = checkpoint.network.spec()
    for case, audio, frames in _cases(spec):
        _compare(case, checkpoint, sessions, audio, frames, checks)
    if failed := {name: check for name, check in checks.items() if check.failures}:
        told = [f"{name} (limit {check.limit:g}): {'; '.join(check.failures)}" for name, check in failed.items()]
        raise ExportError(f"the exported graphs differ from PyTorch: {'; '.join(told)}")
    return {
        "against": f"PyTorch {torch.__version__} float32 on the CPU",
        "with": f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider",
        "lengths_frames": list(_lengths(spec)),
        "batches": [list(batch) for batch in BATCHES],
        "checks": {name: check.to_dict() for name, check in checks.items()},
    }


def verify_reduced(made: Mapping[str, Graph], models: Mapping[str, bytes]) -> dict[str, Any]:
    """Hold the graphs of a reduced precision against their signatures and, on their example inputs, against PyTorch.

    Whether the precision is good enough is another question, which ``judgement`` answers: on a CPU, ONNX Runtime
    computes parts of these graphs in float32.

    Raises:
        ExportError: A graph does not load, has another signature, or differs by more than rounding.
    """
    worst = {}
    for name, data in models.items():
        graph = made[name]
        session = session_of(data, graph.signature)
        given = [one for each in graph.example for one in (each if isinstance(each, tuple) else (each,))]
        feed = {value.name: tensor.numpy() for value, tensor in zip(graph.signature.inputs, given, strict=True)}
        expected = graph.module(*graph.example)
        expected = expected if isinstance(expected, tuple) else (expected,)
        # A near-tie changes a code by any amount; how many codes change is for ``judgement`` to say.
        pairs = zip(session.run(None, feed), expected, strict=True)
        measured = [(torch.from_numpy(found), wanted) for found, wanted in pairs if wanted.is_floating_point()]
        worst[name] = max((relative(found, wanted) for found, wanted in measured), default=0.0)
    if failed := {name: error for name, error in worst.items() if not error <= REDUCED_LIMIT}:
        listing = ", ".join(f"{name} by {error:.3g}" for name, error in failed.items())
        raise ExportError(
            f"graphs of reduced precision differ from PyTorch by more than {REDUCED_LIMIT:g} of the peak: {listing}; "
            "--float32 keeps layers of fp16 graphs in float32, and --precision names which precisions are exported"
        )
    return {"limit": REDUCED_LIMIT, "worst": {name: float(f"{error:.3g}") for name, error in worst.items()}}


def _lengths(spec: ModelSpec) -> tuple[int, ...]:
    """Frames: one; no multiple of the ratio; the traced length; ten times that; a prime."""
    traced = TRACED_LATENTS * spec.ratio - 1
    return (1, spec.ratio + 5, traced, 10 * traced, 997)


def _cases(spec: ModelSpec) -> Iterator[tuple[str, Tensor, int]]:
    """Every batch at every length: a label, audio (B, N), and how many of its frames to use."""
    longest = spec.hop_size * max(_lengths(spec))
    signals = {name: torch.from_numpy(signal) for name, signal in reference_signals(spec.sample_rate, longest).items()}
    for frames in _lengths(spec):
        samples = max((frames - 1) * spec.hop_size + spec.hop_size // 2, spec.min_samples)
        for batch in BATCHES:
            audio = torch.stack([signals[name][:samples] for name in batch])
            yield f"{' + '.join(batch)}, {frames} frames", audio, frames


@torch.no_grad()
def _compare(
    case: str,
    checkpoint: Checkpoint,
    sessions: Mapping[str, Any],
    audio: Tensor,
    frames: int,
    checks: Mapping[str, Check],
) -> None:
    """Run one batch through PyTorch, each step's inputs through its graph, and note the errors."""
    spec = checkpoint.network.spec()
    stft, istft, quantizer = Stft(spec), Istft(spec), checkpoint.encoder.quantizer

    def run(name: str, *inputs: Tensor) -> list[Tensor]:
        feed = {value.name: tensor.numpy() for value, tensor in zip(spec.graphs[name].inputs, inputs, strict=True)}
        return [torch.from_numpy(output) for output in sessions[name].run(None, feed)]

    def check(name: str, measure: Callable[[], float]) -> None:
        try:
            checks[name].add(case, measure())
        except Exception as error:  # a graph that fails to run is one more failure, not the end of the check
            checks[name].failures.append(f"{case}: {str(error).splitlines()[0]}")
            checks[name].worst, checks[name].worst_case = math.inf, case

    logamp, phase = stft(audio)
    check(
        "stft",
        lambda: relative(torch.polar(*_amplitude(*run("stft", audio))), torch.complex(*stft.spectrum(audio))),
    )
    logamp, phase = logamp[:, :, :frames].contiguous(), phase[:, :, :frames].contiguous()
    latent = checkpoint.encoder(logamp, phase)
    check("encoder", lambda: relative(run("encoder", logamp, phase)[0], latent))
    codes = quantizer.encode(latent)
    check("quantizer", lambda: float((run("quantizer", latent)[0] != codes).float().mean()))
    quantized = quantizer.decode(codes)
    check("dequantizer", lambda: relative(run("dequantizer", codes.to(torch.int32))[0], quantized))
    real, imag = checkpoint.decoder(quantized)
    check("decoder", lambda: relative(torch.complex(*run("decoder", quantized)), torch.complex(real, imag)))
    decoded = istft(real, imag)
    check("istft", lambda: relative(run("istft", real, imag)[0], decoded))
    check(
        "round_trip",
        lambda: relative(run("istft", *run("decoder", *run("dequantizer", codes.to(torch.int32))))[0], decoded),
    )


def _amplitude(logamp: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    return logamp.exp() - LOG_FLOOR, phase


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest error relative to the peak, row by row; infinite for other shapes or numbers that are not finite."""
    if found.shape != expected.shape:
        raise ExportError(f"shape {list(found.shape)}, expected {list(expected.shape)}")
    if not torch.isfinite(torch.view_as_real(found) if found.is_complex() else found).all():
        return math.inf
    peak = expected.abs().flatten(1).amax(dim=1)
    error = (found - expected).abs().flatten(1).amax(dim=1)
    return float((error / torch.where(peak > _SILENT, peak, torch.ones_like(peak))).max())


def session_of(data: bytes, signature: GraphSignature, *, threads: int = 0) -> Any:
    """Load a graph and hold its names, types and axes against its signature.

    Raises:
        ExportError: It does not load, or has others.
    """
    name = signature.name
    try:
        session = onnxruntime.InferenceSession(data, session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"ONNX Runtime cannot load {name}: {error}") from error
    types = {"float32": "tensor(float)", "int32": "tensor(int32)"}
    for kind, held, expected in (
        ("inputs", session.get_inputs(), signature.inputs),
        ("outputs", session.get_outputs(), signature.outputs),
    ):
        found = [[value.name, value.type, list(value.shape)] for value in held]
        wanted = [[value.name, types[value.dtype], list(value.dims)] for value in expected]
        if found != wanted:
            raise ExportError(f"{name} has {kind} {json.dumps(found)}; expected {json.dumps(wanted)}")
    return session
