"""The screen of a live stream: levels, latency, and the time that coding takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from apcodec_deploy.cli.console import shown
from apcodec_deploy.cli.units import counted
from apcodec_deploy.live.card import Card
from apcodec_deploy.live.echo import SILENT_DB, Figures

_PER_SECOND = 12
_BAR, _QUIETEST_DB, _LOUD_DB = 40, -60.0, -6.0
"""Characters of a level; where it begins, and where it is too loud for comfort."""


class Meter:
    """Shows how a live stream goes, where standard error is a terminal."""

    def __init__(self, figures: Figures, title: str) -> None:
        """Prepare.

        Args:
            figures: Of the stream; they change while it runs.
            title: What codes it.
        """
        self.figures, self._title = figures, title
        self._card: Card | None = None
        self._live: Live | None = None
        self._turned = 0.0

    @contextmanager
    def shown(self, card: Card) -> Iterator[None]:
        """Show the figures, and those of the card, for as long as it lasts."""
        self._card = card
        console = Console(stderr=True, highlight=False)
        if not console.is_terminal:
            yield
            return
        with Live(self.screen(), console=console, auto_refresh=False, transient=True) as self._live:
            yield

    def turn(self) -> None:
        """Show what there is now, unless it was shown a moment ago."""
        now = time.monotonic()
        if self._live is not None and now - self._turned >= 1 / _PER_SECOND:
            self._turned = now
            self._live.update(self.screen(), refresh=True)

    def screen(self) -> Group:
        """What is shown now."""
        figures = self.figures
        rows = Table.grid(padding=(0, 2))
        rows.add_row("in", _bar(figures.level_in))
        rows.add_row("out", _bar(figures.level_out))
        rows.add_row("latency", self._latency())
        share = figures.slow / figures.block_seconds
        colour = "red" if share > 1 else "yellow" if share > 0.5 else "green"
        rows.add_row(
            "computing",
            Text(f"median {_ms(figures.median)}, p99 {_ms(figures.slow)}  ") + Text(f"{share:.0%} of a block", colour),
        )
        rows.add_row("gaps", Text(f"{self._gaps}", "red" if self._gaps else ""))
        return Group(Text(shown(self._title), "bold"), rows, Text("Ctrl-C ends it. Use headphones.", "dim"))

    def summary(self) -> str:
        """How it went, in a line."""
        figures = self.figures
        seconds = figures.blocks * figures.block_seconds
        computing = f"median {_ms(figures.median)}, p99 {_ms(figures.slow)} of {_ms(figures.block_seconds)} a block"
        return f"{seconds:.1f} s: latency {self._latency()}; computing {computing}; {counted(self._gaps, 'gap')}"

    def values(self) -> dict[str, float]:
        """How it went, for JSON: seconds and counts."""
        figures = self.figures
        return {
            "seconds": figures.blocks * figures.block_seconds,
            "block_seconds": figures.block_seconds,
            "algorithm_seconds": figures.algorithm_seconds,
            "card_seconds": self._card_seconds,
            "compute_seconds_median": figures.median,
            "compute_seconds_p99": figures.slow,
            "gaps": self._gaps,
        }

    def _latency(self) -> str:
        figures = self.figures
        return (
            f"{_ms(figures.latency_seconds + self._card_seconds)} = {_ms(figures.algorithm_seconds)} codec "
            f"+ {_ms(figures.median)} computing + {_ms(self._card_seconds)} sound card"
        )

    @property
    def _card_seconds(self) -> float:
        return 0.0 if self._card is None else self._card.seconds

    @property
    def _gaps(self) -> int:
        return 0 if self._card is None else self._card.gaps


def _bar(level: float) -> Text:
    """A level as a bar and a number."""
    share = (max(level, _QUIETEST_DB) - _QUIETEST_DB) / -_QUIETEST_DB
    full = round(share * _BAR)
    colour = "red" if level > _LOUD_DB else "green"
    figure = "silent" if level <= SILENT_DB else f"{level:.0f} dB"
    return Text("█" * full, colour) + Text("░" * (_BAR - full), "dim") + Text(f"  {figure}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
