"""What measurements give: distributions of times, timings of cases, what contenders are, how files sound."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apcodec_benchmarks.facts import Facts
from apcodec_deploy.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds of repeated calls, warm-up excluded, in the order in which they were made."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise BenchmarkError("no call was timed; at least one is expected")
        # What is kept on disk is what is told: a figure must not differ by a digit between the two.
        object.__setattr__(self, "values", tuple(float(f"{value:.6g}") for value in self.values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation; 0 for a single call."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def quantile(self, share: float) -> float:
        """The value below which that share of the calls lies, interpolated."""
        ordered = sorted(self.values)
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    @property
    def p95(self) -> float:
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    def thinned(self, steps: int) -> Distribution:
        """In place of very many calls as many values as there are quantiles at so many equal steps, ascending."""
        return Distribution(tuple(self.quantile(step / steps) for step in range(steps + 1)))

    @property
    def spread(self) -> tuple[float, float]:
        """The middle half of the calls lies between these."""
        return self.quantile(0.25), self.quantile(0.75)

    def to_dict(self) -> dict[str, Any]:
        """The figures beside the values, for people who read JSON; only the values are read back."""
        figures = {name: getattr(self, name) for name in ("median", "mean", "deviation", "p95")}
        return {
            "count": len(self.values),
            **{name: float(f"{value:.6g}") for name, value in figures.items()},
            "values": list(self.values),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Distribution:
        return cls(tuple(float(value) for value in values["values"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is timed.

    Attributes:
        operation: ``round_trip``, ``encode``, ``decode`` or ``stream``; live ``push``, ``visits`` or ``pipe``; of a
            ceiling ``product`` or ``copy``.
        seconds: Length of each clip, or of what is pushed.
        batch: Clips, or streams, at a time.
        copies: Whether the way to the device and back counts.
        clock: ``host``, or ``device`` for what the device itself says.
        file: A clip of the user's; the stored speech, repeated, where None.
    """

    operation: str
    seconds: float
    batch: int = 1
    copies: bool = True
    clock: str = "host"
    file: str | None = None

    def __str__(self) -> str:
        seconds = f"{self.seconds:.3g}" if self.seconds < 1000 else f"{self.seconds:.0f}"
        return f"{self.operation} of {seconds} s{f' x {self.batch}' if self.batch > 1 else ''}"

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that one call handles."""
        return self.seconds * self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a case took one contender.

    Attributes:
        contender: Its name.
        mode: In which mode.
        threads: CPU threads.
        case: What was timed.
        times: Seconds per call.
        memory: Peak bytes of its process while it did this; None where the system does not tell.
        device_memory: Bytes that its process held on the GPU after this; libraries keep what they once took.
        ceiling_share: Of what this machine could do in that time, by a measurement in the same rounds.
        warnings: Why the figure should not be believed, if so.
    """

    contender: str
    mode: str
    threads: int
    case: Case
    times: Distribution
    memory: int | None = None
    device_memory: int | None = None
    ceiling_share: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rtf(self) -> float:
        """Compute time / audio time, by the median."""
        return self.times.median / self.case.audio_seconds

    @property
    def key(self) -> tuple[Any, ...]:
        """What two timings of the same thing share."""
        case = self.case
        name = Path(case.file).name if case.file else None
        return (
            self.contender, self.mode, self.threads, case.operation, case.seconds, case.batch, case.copies, case.clock,
            name,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTiming:
    """What one stage of a round trip took.

    Attributes:
        contender: Its name.
        threads: CPU threads.
        seconds: Length of the clip.
        stage: Like ``encoder``.
        times: Seconds per call.
        flops: Floating-point operations of one call; None where nobody counted.
        bytes: The least bytes that one call must move: weights, input and output.
        ceiling_share: Of what this machine could do in that time.
    """

    contender: str
    threads: int
    seconds: float
    stage: str
    times: Distribution
    flops: float | None = None
    bytes: float | None = None
    ceiling_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What this machine can do at best, measured in the same rounds as the contenders.

    Attributes:
        operation: ``product`` (a large matrix product) or ``copy`` (a large copy).
        threads: CPU threads.
        precision: Of the numbers.
        size: What was computed, in words.
        rate: FLOP/s or bytes/s, by the median.
        best: The same by the fastest call.
    """

    operation: str
    threads: int
    precision: str
    size: str
    rate: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderRecord:
    """A contender in the results, whether it ran or not.

    Attributes:
        name: As the catalogue calls it.
        facts: What it is; None where it did not come so far.
        problem: Why it did not run; None if it did.
        load_seconds: From the start of its process until the model is loaded.
        first_seconds: From the start of its process until one second of audio has been coded.
        flops_per_second: Floating-point operations of convolutions and products per second of audio, round trip.
        failures: Cases that it could not do, each with the reason.
    """

    name: str
    facts: Facts | None = None
    problem: str | None = None
    load_seconds: float | None = None
    first_seconds: float | None = None
    flops_per_second: float | None = None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How one file came out of one contender.

    Attributes:
        contender: Its name.
        file: The file's path below the folder.
        seconds: Its length.
        bitrate: Bits per second that its codes really took.
        metrics: By name; see ``metrics``. What could not be computed is absent.
        agreement: The share of codes that equal those of the contender ``against``, by codebook; empty where none is.
        against: With whose codes they were compared, and whose audio ``against_snr`` is about.
        against_snr: SNR of the audio against that contender's, in dB.
        problem: Why there is no figure; None if there is.
    """

    contender: str
    file: str
    seconds: float
    bitrate: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    agreement: tuple[float, ...] = ()
    against: str | None = None
    against_snr: float | None = None
    problem: str | None = None
