"""Is a reduced precision good enough? The network under a plan against the published one in float32, in codec terms.

The judge is PyTorch with tensors that really are of the reduced type: ONNX Runtime keeps chains of half-precision
operators in float32 on a CPU and so hides what overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.layers import Product
from apcodec_export.deployed.network import Block
from apcodec_export.deployed.precision import PrecisionPlan
from apcodec_export.deployed.streaming import StreamBlock
from apcodec_export.forms import form_of

MIN_AGREEMENT = 0.97
"""Share of equal codes, in every codebook, on real signals."""
MIN_SNR = 40.0
"""dB between what the same codes decode to."""
HEADROOM = 8.0
"""How far the largest value of a reduced type must stay from the largest that the type holds."""
_SILENT = 1e-9
"""A mean square below which an error counts by itself (-90 dB), because there is nothing to relate it to."""


@dataclass(slots=True)
class Judgement:
    """What a precision costs.

    Attributes:
        agreement: The lowest share of equal codes over the real signals, by codebook.
        snr: Decibels between the audio of the same codes, by signal.
        largest: The largest value that a layer of the reduced type took in or gave out, by layer.
        limit: The largest finite value of the reduced type.
    """

    limit: float
    agreement: list[float] = field(default_factory=list)
    snr: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)

    @property
    def in_range(self) -> bool:
        """Whether nothing came near the end of the type's range."""
        return all(value * HEADROOM <= self.limit for value in self.largest.values())

    @property
    def problems(self) -> list[str]:
        """Why this precision is not advised, one line each."""
        found = []
        if (worst := min(self.agreement)) < MIN_AGREEMENT:
            found.append(
                f"only {worst:.1%} of the codes of a codebook are those of float32 (limit {MIN_AGREEMENT:.0%})"
            )
        if low := [f"{name} {value:.1f}" for name, value in self.snr.items() if not value >= MIN_SNR]:
            found.append(f"the same codes decode with {', '.join(low)} dB (limit {MIN_SNR:g})")
        close = [f"{name} {value:.0f}" for name, value in self.largest.items() if not value * HEADROOM <= self.limit]
        if close:
            found.append(f"values within a factor of {HEADROOM:g} of {self.limit:g}: {', '.join(close)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For ``model.json``."""
        name, value = max(self.largest.items(), key=lambda item: item[1], default=("", 0.0))
        return {
            "code_agreement": [round(share, 4) for share in self.agreement],
            "snr_db": {label: round(decibels, 1) for label, decibels in self.snr.items()},
            "largest_value": {"layer": name, "value": round(value, 2), "of": self.limit},
            "advised": not self.problems,
        }


@torch.no_grad()
def judge(checkpoint: Checkpoint, plan: PrecisionPlan, signals: dict[str, Tensor] | None = None) -> Judgement:
    """Compare a plan with float32.

    Args:
        checkpoint: The model.
        plan: What to judge.
        signals: Audio (N,) by name; one default window of each reference signal where None.
    """
    spec, form = checkpoint.network.spec(), form_of(checkpoint)
    if signals is None:
        held = reference_signals(spec.sample_rate, spec.call_samples(spec.judged_latents))
        signals = {name: torch.from_numpy(signal) for name, signal in held.items()}
    networks = form.networks(plan)
    model, deployed = form.model(), form.deployed(networks)
    result = Judgement(limit=torch.finfo(getattr(torch, plan.name)).max)
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(_watched(network, result.largest))
        for name, signal in signals.items():
            codes = model.encode(signal[None])
            result.snr[name] = decibels(model.decode(codes), deployed.decode(codes))
            found = deployed.encode(signal[None])
            if name in REAL:
                shares = (found == codes).float().mean(dim=(0, 2)).tolist()
                result.agreement = [min(pair) for pair in zip(shares, result.agreement or shares, strict=True)]
    return result


@contextmanager
def _watched(network: Any, largest: dict[str, float]) -> Iterator[None]:
    """Note the largest value that each reduced layer takes in, in its own type, and gives out."""

    def note(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            dtype = output.dtype
            if dtype == torch.float16:
                # Not max() of Python, which would lose a NaN.
                tensors = [x for x in (*inputs, output) if isinstance(x, Tensor)]
                seen = torch.stack([x.to(dtype).float().abs().max() for x in tensors]).max()
                value = float(torch.where(seen.isnan(), torch.inf, seen))
                largest[path] = max(largest.get(path, 0.0), value)

        return hook

    hooks = [
        module.register_forward_hook(note(f"{network.part}.{name}"))
        for name, module in network.named_modules()
        if isinstance(module, Product | Block | StreamBlock)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def decibels(expected: Tensor, found: Tensor) -> float:
    """Signal to noise ratio in dB; minus infinity where what was found is not finite."""
    expected, found = expected.double(), found.double()
    if not found.isfinite().all():
        return float("-inf")
    signal, noise = expected.square().mean().clamp(min=_SILENT), (found - expected).square().mean()
    return float(10 * torch.log10(signal / noise.clamp(min=1e-30)))
