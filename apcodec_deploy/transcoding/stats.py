"""Who waited for whom in a job, in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from apcodec_deploy.backends.shared import LaneAccount
from apcodec_deploy.transcoding.report import Report
from apcodec_deploy.transcoding.watch import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """Where the time of a job went.

    Attributes:
        report: What became of its files.
        jobs: Conversions at a time.
        lanes: Calls of the codec at a time.
        account: What the lanes did.
    """

    report: Report
    jobs: int
    lanes: int
    account: LaneAccount

    @property
    def codec_share(self) -> float:
        """Share of the lanes' time that they computed in."""
        return self._share(self.account.busy, self.lanes)

    def lines(self) -> list[str]:
        """For a reader."""
        stages, account = self.report.stages, self.account
        queued = self._share(account.queued, self.jobs)
        reading, coding, writing = (self._share(stages.get(stage, 0.0), self.jobs) for stage in Stage)
        batches = max(1, account.batches)
        return [
            f"files: {self.jobs} at a time; {reading:.0%} of their time reading, {writing:.0%} writing, {coding:.0%} "
            f"with the codec, of which {queued:.0%} waiting for a turn",
            f"codec: {self.lanes} calls at a time; {self.codec_share:.0%} of their time computing, "
            f"{self._share(account.idle, self.lanes):.0%} waiting for windows; {account.batches} batches of "
            f"{account.rows / batches:.1f} windows, {1000 * account.busy / batches:.0f} ms each",
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, times in seconds."""
        return {
            "jobs": self.jobs,
            "lanes": self.lanes,
            "elapsed": self.report.elapsed,
            "stages": {str(stage): seconds for stage, seconds in self.report.stages.items()},
            "codec": asdict(self.account),
            "codec_share": self.codec_share,
        }

    def _share(self, seconds: float, of: int) -> float:
        """Of the whole job's time, of so many side by side."""
        return seconds / (self.report.elapsed * of) if self.report.elapsed else 0.0
