"""What became of the files of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from apcodec_deploy.transcoding.conversion import Converted
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.naming import as_text
from apcodec_deploy.transcoding.watch import Stage

EXISTS = "the output exists"
"""Why a file is skipped that no job here has made: something else stands in its place."""


class Outcome(StrEnum):
    """What became of a file."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one task, and why if it was not done."""

    task: Task
    outcome: Outcome
    converted: Converted | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        done = self.converted
        return {
            "source": as_text(str(self.task.source)),
            "target": as_text(str(self.task.target)),
            "outcome": str(self.outcome),
            "seconds": done.seconds if done else 0.0,
            "clipped_samples": done.clipped if done else 0,
            "gaps": [asdict(gap) for gap in done.gaps] if done else [],
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all tasks, in their order.

    Attributes:
        results: One for each.
        elapsed: Seconds that the whole job took.
        stages: Seconds in each stage, of all conversions together.
    """

    results: tuple[Result, ...]
    elapsed: float
    stages: Mapping[Stage, float] = field(default_factory=dict)

    def of(self, outcome: Outcome) -> list[Result]:
        """The results of one outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def barred(self) -> list[Result]:
        """Those whose place something else holds than a result of a job here."""
        return [result for result in self.of(Outcome.SKIPPED) if result.reason == EXISTS]

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio converted."""
        return sum(result.converted.seconds for result in self.results if result.converted)

    @property
    def clipped(self) -> int:
        """Samples clipped."""
        return sum(result.converted.clipped for result in self.results if result.converted)

    @property
    def times_real_time(self) -> float:
        """Seconds of audio per second of work."""
        return self.audio_seconds / self.elapsed if self.elapsed else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "done": len(self.of(Outcome.DONE)),
            "skipped": len(self.of(Outcome.SKIPPED)),
            "failed": len(self.of(Outcome.FAILED)),
            "audio_seconds": self.audio_seconds,
            "elapsed_seconds": self.elapsed,
            "times_real_time": self.times_real_time,
            "clipped_samples": self.clipped,
            "files": [result.to_dict() for result in self.results],
        }
