"""The part ``device``: what all other parts stand on, and the ceilings of the card."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.acceptance.ceilings import FACT, measure_ceilings
from apcodec_benchmarks.acceptance.checks import run_tests
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend, cuda
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.opening import open_device

_LIMITS = {"stft": 1e-3, "istft": 1e-4}
"""What a transform may differ from the CPU's. Phases of silent bins are noise, so of ``stft`` only amplitudes count."""


def run(journal: Journal, scale: Scale) -> None:
    """Check and measure."""
    run_tests(journal, scale, "bytes or streams or events or recorded")
    with journal.guarded("a device is there"):
        gpu = open_device(BackendOptions(device=scale.device).index).gpu
        journal.fact("gpu", gpu.name)
        journal.fact("compute capability", gpu.compute_capability)
        journal.fact("CUDA of the driver", gpu.driver)
    with journal.guarded("ceilings"):
        journal.fact(FACT, measure_ceilings(scale).to_dict())
    with journal.guarded("transforms"):
        _transforms(journal, scale)


def _transforms(journal: Journal, scale: Scale) -> None:
    """Pass speech through each transform on both, the inverse on what the CPU's decoder gives."""
    bundle = Bundle.embedded()
    index = BackendOptions(device=scale.device).index
    host, card = OnnxRuntimeBackend(bundle), OnnxRuntimeBackend(bundle, placement=cuda(index))
    samples = max(round(scale.seconds * bundle.spec.sample_rate), bundle.spec.min_samples)
    audio = reference_signals(bundle.spec.sample_rate, samples)["speech"][None]
    try:
        inputs: dict[str, Any] = {"stft": (audio,), "istft": _spectrum(host, audio)}
        for name, values in inputs.items():
            *_, (_, expected) = host.steps((name,), values)
            *_, (_, found) = card.steps((name,), values)
            difference = float(np.abs(expected[0].numpy() - found[0].numpy()).max())
            journal.check(f"{name} on the GPU is that of the CPU", difference <= _LIMITS[name], f"{difference:.2g}")
    finally:
        host.close()
        card.close()


def _spectrum(host: OnnxRuntimeBackend, audio: NDArray[np.float32]) -> list[Any]:
    """What the decoder gives for speech, on the host."""
    *_, (_, values) = host.steps(("dequantizer", "decoder"), (host.encode(audio),))
    return values
