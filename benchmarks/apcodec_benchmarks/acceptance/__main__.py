"""``python -m apcodec_benchmarks.acceptance``: what ``scripts/gpu`` runs when all is set up.

It imports nothing but Python's own until it knows that the rest can be imported: a bare machine is told all it lacks.
"""

from __future__ import annotations

import sys

from apcodec_benchmarks.acceptance.needs import BASE, NEEDS, absent


def main() -> int:
    """Run it; exit 2 if packages are missing without which nothing can be said of the rest."""
    if missing := absent(BASE):
        others = absent(sorted({name for names in NEEDS.values() for name in names} - set(missing)))
        also = f"; some parts also need {', '.join(others)}" if others else ""
        sys.stderr.write(f"nothing can run: this Python has no {', '.join(missing)}{also}\n")
        return 2
    from apcodec_benchmarks.acceptance import program

    program.listen()
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
