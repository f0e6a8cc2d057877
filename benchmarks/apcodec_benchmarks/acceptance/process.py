"""The process of one part: ``python -m apcodec_benchmarks.acceptance.process PART FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import REAL, Scale, parts_named
from apcodec_deploy.engines.store import CACHE_VARIABLE


def main(scale: Scale = REAL) -> int:
    """Run it; exit 0 if all of its checks passed, else 1."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    (part,) = parts_named([name])
    # Engines of an acceptance stay among themselves, and nothing passes by because it was skipped.
    os.environ |= {CACHE_VARIABLE: str(folder / "engines"), "APCODEC_REQUIRE_GPU": "1"}
    journal = Journal(folder, name)
    with journal.guarded(name):
        part.load()(journal, scale)
    return 0 if journal.end() else 1


if __name__ == "__main__":
    sys.exit(main())
