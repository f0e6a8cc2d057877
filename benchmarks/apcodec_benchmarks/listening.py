"""From what was heard to the page that lets others hear it."""

from __future__ import annotations

from pathlib import Path

from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.quality import Heard
from apcodec_benchmarks.report.listening import Listening, write_listening_report
from apcodec_benchmarks.report.listening_figures import MetricColumn
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError


class Clips:
    """The first clips that were heard, shortened, for a page."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self.held: list[Listening] = []

    def add(self, clip: Heard) -> None:
        """Keep a clip, if there is room for it."""
        if len(self.held) < self._most:
            samples = max(1, round(self._seconds * clip.sample_rate))
            self.held.append(
                Listening(
                    file=clip.file,
                    sample_rate=clip.sample_rate,
                    # Copies, or the rest would be held as well.
                    original=clip.original[:samples].copy(),
                    decoded={name: audio[:samples].copy() for name, audio in clip.decoded.items()},
                )
            )


def write_page(target: Path, results: Results, clips: Clips, *, speed: Results | None, overwrite: bool) -> None:
    """Write the page, its metrics titled and ranked as the catalogue says.

    Raises:
        BenchmarkError: Nothing was heard, or the page would be too large.
    """
    if not clips.held:
        raise BenchmarkError("no file was coded by any contender, so there is nothing to listen to")
    present = {name for row in results.quality for name in row.metrics}
    columns = [
        MetricColumn(
            name=metric.name,
            title=metric.title,
            higher_is_better=metric.higher_is_better,
            digits=metric.digits,
            about=metric.about,
        )
        for metric in METRICS.values()
        if metric.name in present
    ]
    write_listening_report(target, results, clips.held, speed=speed, metrics=columns, overwrite=overwrite)
