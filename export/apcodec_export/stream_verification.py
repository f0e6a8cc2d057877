"""Are the two graphs of a causal model that model, and does it not matter how a stream is cut into calls?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import ExportError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.ort import onnxruntime
from apcodec_deploy.signatures import GraphSignature
from apcodec_export.graphs import TRACED_LATENTS
from apcodec_export.verification import BATCHES, Check, relative, session_of

LIMITS = {"encode": 0.03, "decode": 1e-3}
"""The largest error of each graph: for ``encode`` the share of other codes than PyTorch's, since the phase of an empty
bin is rounding noise; for ``decode`` the audio of the same codes relative to its peak."""
LENGTHS = (1, 2, TRACED_LATENTS, 10 * TRACED_LATENTS + 1)
CALLS = ((1,), (2,), (3,), (7,), (16,), (5, 1, 30))
"""Latents of the calls that a stream is cut into, in turn."""


class StreamRunner:
    """A graph with state as ONNX Runtime runs it, call by call."""

    def __init__(self, data: bytes, signature: GraphSignature, *, threads: int = 0) -> None:
        self._session, self._inputs = session_of(data, signature, threads=threads), signature.inputs

    def __call__(self, rows: NDArray[Any], unit: int, calls: Sequence[int] | None = None) -> NDArray[Any]:
        """What comes of a whole stream.

        Args:
            rows: The streams, their time last.
            unit: Items of a latent.
            calls: Latents of each call, in turn; one call where None.
        """
        state = [np.zeros(each.shape({"batch": len(rows)}), np.float32) for each in self._inputs[1:]]
        made = []
        for start, stop in _cuts(rows.shape[-1] // unit, calls):
            values = (np.ascontiguousarray(rows[..., start * unit : stop * unit]), *state)
            feed = {tensor.name: value for tensor, value in zip(self._inputs, values, strict=True)}
            result, *state = self._session.run(None, feed)
            made.append(result)
        return np.concatenate(made, axis=-1)


def _cuts(latents: int, calls: Sequence[int] | None) -> Iterator[tuple[int, int]]:
    start, index = 0, 0
    while start < latents:
        stop = latents if calls is None else min(latents, start + calls[index % len(calls)])
        yield start, stop
        start, index = stop, index + 1


@torch.no_grad()
def verify_stream(model: Any, spec: StreamSpec, models: Mapping[str, bytes]) -> dict[str, Any]:
    """Compare the exported graphs with PyTorch, and with themselves in calls of other sizes.

    Args:
        model: A coder in PyTorch.
        spec: The model's numbers.
        models: The two graphs, serialized.

    Returns:
        What was checked, the worst error of each graph, and what calls of other sizes change, for ``model.json``.

    Raises:
        ExportError: A graph does not load, has other names, types or axes than its signature, or differs by too much.
    """
    runners = {name: StreamRunner(data, spec.graphs[name]) for name, data in models.items()}
    checks = {name: Check(limit) for name, limit in LIMITS.items()}
    unit = spec.samples_per_latent
    held = {name: torch.from_numpy(signal) for name, signal in _signals(spec).items()}
    for latents in LENGTHS:
        for batch in BATCHES:
            case = f"{' + '.join(batch)}, {latents} latents"
            audio = torch.stack([held[name][: latents * unit] for name in batch])
            codes = model.encode(audio)
            found = runners["encode"](audio.numpy(), unit)
            checks["encode"].add(case, float((torch.from_numpy(found) != codes).float().mean()))
            given = codes.to(torch.int32).numpy()
            sound = runners["decode"](given, 1)
            checks["decode"].add(case, relative(torch.from_numpy(sound), model.decode(codes)))
    if failed := {name: check for name, check in checks.items() if check.failures}:
        told = [f"{name} (limit {check.limit:g}): {'; '.join(check.failures)}" for name, check in failed.items()]
        raise ExportError(f"the exported graphs differ from PyTorch: {'; '.join(told)}")
    return {
        "against": f"PyTorch {torch.__version__} float32 on the CPU",
        "with": _runtime(),
        "lengths_latents": list(LENGTHS),
        "batches": [list(batch) for batch in BATCHES],
        "checks": {name: check.to_dict() for name, check in checks.items()},
        "calls_of_other_sizes": calls_of_other_sizes(spec, models),
    }


def calls_of_other_sizes(spec: StreamSpec, models: Mapping[str, bytes]) -> dict[str, Any]:
    """What it changes to cut a stream into other calls, for ``model.json``.

    Args:
        spec: The model's numbers.
        models: The two graphs in any precision, serialized.
    """
    runners = {name: StreamRunner(data, spec.graphs[name]) for name, data in models.items()}
    signals, unit = _signals(spec), spec.samples_per_latent
    codes = audio = 0.0
    for batch in BATCHES:
        rows = np.stack([signals[name] for name in batch])
        coded = runners["encode"](rows, unit)
        sound = torch.from_numpy(runners["decode"](coded, 1))
        for calls in CALLS:
            codes = max(codes, float((runners["encode"](rows, unit, calls) != coded).mean()))
            audio = max(audio, relative(torch.from_numpy(runners["decode"](coded, 1, calls)), sound))
    return {
        "with": _runtime(),
        "latents": [list(calls) for calls in CALLS],
        "other_codes": codes,
        "audio_relative_to_peak": audio,
        "equal_to_the_bit": not codes and not audio,
    }


def _runtime() -> str:
    return f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"


def _signals(spec: StreamSpec) -> dict[str, NDArray[np.float32]]:
    return reference_signals(spec.sample_rate, spec.samples_per_latent * max(LENGTHS))


_OPENVINO = "equal to the bit"
_OPENVINO_WITH_HISTORY = (
    "equal to the bit, but with AVX2 only: there float32 audio differs by 2.4e-6 of its peak between calls of up to 8 "
    "tokens and longer ones, and int8 is not run"
)
"""What was measured of OpenVINO, without and with frames of history; docs/decisions/0019-streams-on-cpus.md."""


def described_stream(spec: StreamSpec) -> dict[str, Any]:
    """What ``model.json`` says of a stream: all that a program needs to run one."""
    return {
        "calls_of_other_sizes_openvino": _OPENVINO_WITH_HISTORY if spec.context else _OPENVINO,
        "samples_per_push": spec.samples_per_latent,
        "delay_samples": spec.delay_samples,
        "latency_samples": spec.latency_samples,
        "latency_ms": round(1000 * spec.latency_samples / spec.sample_rate, 3),
        "frame_ms": round(1000 * spec.samples_per_latent / spec.sample_rate, 3),
        "state": {
            name: {tensor.name: {"shape": list(tensor.shape), "dtype": "float32", "start": 0} for tensor in state}
            for name, state in spec.states.items()
        },
    }
