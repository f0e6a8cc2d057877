"""Limits that quality must keep, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

OURS = "apcodec"
"""What the names of our own contenders begin with."""
CODES = "codes"
"""The share of codes that equal those of float32, in the worst codebook, as a limit's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The worst mean over all files that is let through.

    Attributes:
        name: A metric, or ``codes``.
        value: The limit.
    """

    name: str
    value: float

    @property
    def higher_is_better(self) -> bool:
        """Which side of the limit is the good one."""
        return self.name == CODES or METRICS[self.name].higher_is_better

    def broken_by(self, value: float) -> bool:
        """Whether a value is worse."""
        return value < self.value if self.higher_is_better else value > self.value


def limits_of(texts: Iterable[str]) -> list[Limit]:
    """Read limits like ``stoi=0.85``.

    Raises:
        BenchmarkError: One is no limit.
    """
    found = []
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limit = Limit(name=name.strip(), value=float(value))
        except ValueError:
            raise BenchmarkError(f"{text!r} is no limit; expected one like stoi=0.85") from None
        if limit.name != CODES and limit.name not in METRICS:
            raise BenchmarkError(f"there is no metric {limit.name!r}; there are: {CODES}, {', '.join(METRICS)}")
        found.append(limit)
    return found


def broken(results: Results, limits: Sequence[Limit]) -> list[str]:
    """What is worse than a limit, in words, for each APCodec that was measured. A value that is missing is worse, too.

    Other codecs are not held to limits: they are what they are.
    """
    found = []
    for name in (record.name for record in results.contenders if record.name.startswith(OURS)):
        rows = [row for row in results.quality if row.contender == name and row.problem is None]
        if not rows:
            continue
        for limit in limits:
            if limit.name == CODES:
                values = [min(row.agreement) for row in rows if row.agreement]
                if all(row.against is None for row in rows):
                    continue  # it is what others are compared with
            else:
                values = [row.metrics[limit.name] for row in rows if limit.name in row.metrics]
            direction = "at least" if limit.higher_is_better else "at most"
            if not values:
                found.append(f"{name}: {limit.name} could not be computed; {direction} {limit.value:g} is expected")
            elif limit.broken_by(mean := statistics.fmean(values)):
                found.append(f"{name}: {limit.name} is {mean:.4g}; {direction} {limit.value:g} is expected")
    if limits and not any(row.contender.startswith(OURS) and row.problem is None for row in results.quality):
        found.append("no APCodec was measured, so no limit was kept")
    return found


def failed_files(results: Results) -> list[str]:
    """Files that a contender could not do, in words."""
    return [f"{row.contender}: {row.file}: {row.problem}" for row in results.quality if row.problem is not None]
