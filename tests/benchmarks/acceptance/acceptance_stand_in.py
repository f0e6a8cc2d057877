"""The process of a part in tests: its name says what becomes of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal


def main() -> int:
    """Pass, fail, die or hang."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    journal = Journal(folder, name)
    journal.check("something", name != "fails", "it is so")
    with (folder / "runs").open("a") as runs:
        runs.write(f"{name}\n")
    if name == "dies":
        os.abort()
    if name == "hangs":
        time.sleep(60)
    return 0 if journal.end() else 1


if __name__ == "__main__":
    sys.exit(main())
