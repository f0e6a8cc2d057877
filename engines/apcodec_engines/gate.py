"""Does an engine compute what the graphs compute? Asked on the GPU after every build.

Builders have turned correct networks into engines that give NaN, or silence, or slightly wrong numbers, each without an
error. So the new engines run stored clips beside ONNX Runtime in float32 before anybody may use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.precision import FLOAT16, FLOAT32
from apcodec_deploy.spec import ModelSpec

MIN_AGREEMENT = {FLOAT32: 0.98, FLOAT16: 0.95}
"""Share of equal codes in every codebook, from audio. Two correct float32 transforms already differ in 1 % of the last
codebook: where a bin holds next to nothing, its phase is rounding noise."""
MIN_SNR = {FLOAT32: 60.0, FLOAT16: 40.0}
"""dB between what the same codes decode to."""
_ROUNDING = 2.0**-30 / 12
"""Power of what rounding to 16 bits adds. Noise below it is no fault: silence decodes to less, in any precision."""
_TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found of one direction.

    Attributes:
        precision: That it was held to.
        measured: ``code_agreement`` by codebook, or ``snr_db`` by signal.
        problems: Why it fails, one line each; empty if it passes.
    """

    precision: str
    measured: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the engines may be used."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"passed": self.passed, "held_to": self.precision, **self.measured, "problems": list(self.problems)}


@dataclass(frozen=True, slots=True)
class Calls:
    """How a clip is passed: in so many calls of so many latents, each of which goes on where the last one ended."""

    latents: int
    count: int = 1

    def passed(self, backend: Backend, direction: str, rows: NDArray[Any]) -> NDArray[Any]:
        """What becomes of rows."""
        results = []
        states: tuple[Carried, ...] = ()
        for part in np.split(rows, self.count, axis=-1):
            result, states = backend.push(direction, np.ascontiguousarray(part), states)
            results.append(result)
        return np.concatenate(results, axis=-1)


def merged(checks: Sequence[Check]) -> Check:
    """Several checks of one direction as one: the worst of all."""
    measured: dict[str, Any] = {}
    if agreements := [check.measured["code_agreement"] for check in checks if "code_agreement" in check.measured]:
        measured["code_agreement"] = [min(shares) for shares in zip(*agreements, strict=True)]
    if ratios := [check.measured["snr_db"] for check in checks if "snr_db" in check.measured]:
        names = {name for each in ratios for name in each}
        measured["snr_db"] = {name: min(each[name] for each in ratios if name in each) for name in sorted(names)}
    problems = tuple(problem for check in checks for problem in check.problems)
    return Check(precision=checks[0].precision, measured=measured, problems=problems)


def check_encode(
    candidate: Backend, reference: Backend, spec: ModelSpec, calls: Calls, precision: str, batch: int = 1
) -> Check:
    """Codes of the reference signals against those of another backend, which gets each in one call.

    Args:
        candidate: What is checked.
        reference: What it is held to.
        spec: The model's numbers.
        calls: How a signal is passed to the candidate.
        precision: Whose limits hold.
        batch: How often the signal stands in each call.
    """
    agreement = np.ones(spec.num_codebooks)
    problems = []
    for name, signal in reference_signals(spec.sample_rate, calls.count * spec.call_samples(calls.latents)).items():
        found = calls.passed(candidate, "encode", np.tile(signal, (batch, 1)))
        expected = np.tile(reference.encode(signal[None]), (batch, 1, 1))
        if found.shape != expected.shape or found.min() < 0 or found.max() >= spec.codebook_size:
            problems.append(f"{name} gives codes of {found.shape} from {found.min()} to {found.max()}")
        elif name in REAL:
            agreement = np.minimum(agreement, (found == expected).mean(axis=2).min(axis=0))
            if len(np.unique(found)) == 1 < len(np.unique(expected)):
                problems.append(f"{name} gives one code only")
    if agreement.min() < MIN_AGREEMENT[precision]:
        limit = MIN_AGREEMENT[precision]
        problems.append(f"{agreement.min():.1%} of a codebook's codes are those of float32 (limit {limit:.0%})")
    measured = {"code_agreement": [round(float(share), 4) for share in agreement]}
    return Check(precision=precision, measured=measured, problems=tuple(problems))


def check_decode(
    candidate: Backend, reference: Backend, spec: ModelSpec, calls: Calls, precision: str, batch: int = 1
) -> Check:
    """What the codes of the reference signals decode to, against another backend. See ``check_encode``."""
    measured, heard, problems = {}, {}, []
    for name, signal in reference_signals(spec.sample_rate, calls.count * spec.call_samples(calls.latents)).items():
        codes = reference.encode(signal[None])
        found = calls.passed(candidate, "decode", np.tile(codes, (batch, 1, 1)))
        expected = np.tile(reference.decode(codes), (batch, 1))
        if found.shape != expected.shape:
            problems.append(f"{name} gives audio of {found.shape}, {expected.shape} is expected")
        elif not np.isfinite(found).all():
            problems.append(f"{name} gives audio with NaN or infinity")
        elif expected.any() and not found.any(axis=1).all():
            problems.append(f"{name} gives nothing but zeros")
        else:
            pairs = list(zip(expected, found, strict=True))
            measured[name] = round(min(_snr(*pair) for pair in pairs), 1)
            heard[name] = max(_noise(*pair) for pair in pairs) > _ROUNDING
    if low := [f"{name} {value:.1f}" for name, value in measured.items() if value < MIN_SNR[precision] and heard[name]]:
        problems.append(f"the same codes decode with {', '.join(low)} dB (limit {MIN_SNR[precision]:g})")
    return Check(precision=precision, measured={"snr_db": measured}, problems=tuple(problems))


def _snr(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    signal = np.square(expected, dtype=np.float64).mean()
    return float(10 * np.log10(max(signal, _TINY) / max(_noise(expected, found), _TINY)))


def _noise(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    return float(np.square(found.astype(np.float64) - expected).mean())
