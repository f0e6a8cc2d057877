"""The process of a part in tests: its name says what becomes of it."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.process import _end_with_parent


def main() -> int:
    """Pass, fail, die or hang."""
    name, folder, where = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    journal = Journal(folder, name, where)
    journal.check("something", name != "fails", "it is so")
    with (folder / "runs").open("a") as runs:
        runs.write(f"{name}\n")
    if name == "dies":
        os.abort()
    if name == "hangs":
        threading.Thread(target=_end_with_parent, daemon=True).start()
        (folder / name).write_text(str(os.getpid()))
        time.sleep(60)
    return 0 if journal.end() else 1


if __name__ == "__main__":
    sys.exit(main())
