"""The process of one part: ``python -m apcodec_benchmarks.acceptance.process PART FOLDER WHERE``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import REAL, Scale, parts_named
from apcodec_benchmarks.environment import gpus
from apcodec_deploy.engines.store import CACHE_VARIABLE


def main(scale: Scale = REAL) -> int:
    """Run it; exit 0 if all of its checks passed, else 1."""
    name, folder, where = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    (part,) = parts_named([name])
    # Engines of an acceptance stay among themselves, and nothing passes by because it was skipped.
    os.environ |= {CACHE_VARIABLE: str(folder / "engines"), "APCODEC_REQUIRE_GPU": "1"}
    journal = Journal(folder, name, where)
    with journal.guarded(name):
        part.load()(journal, scale)
    note_cards(journal)
    return 0 if journal.end() else 1


def note_cards(journal: Journal) -> None:
    """Note what heat and power have left of the clocks, while the card still holds the part's memory."""
    if cards := gpus():
        journal.fact("cards at the end", cards)


def _end_with_parent() -> None:
    """End with all that was started here when the other side of stdin is gone: then nobody waits for the card."""
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock would be held when the process ends
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
