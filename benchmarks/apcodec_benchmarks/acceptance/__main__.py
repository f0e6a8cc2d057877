"""``python -m apcodec_benchmarks.acceptance``: what ``scripts/gpu`` runs when all is set up."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from apcodec_benchmarks.acceptance.parts import PARTS, parts_named
from apcodec_benchmarks.acceptance.readiness import lacking, told
from apcodec_benchmarks.acceptance.running import RESULT, Acceptance, passed
from apcodec_benchmarks.acceptance.table import table
from apcodec_deploy.errors import ApcodecError

PART = "apcodec_benchmarks.acceptance.process"
REHEARSED_PART = "gpu_simulator.rehearsal"
"""Beside the tests, with all stand-ins."""


def main(arguments: list[str] | None = None) -> int:
    """Run it; exit 0 if no part failed, 1 if one did, 2 if something is missing or wrong."""
    parser = argparse.ArgumentParser(prog="scripts/gpu", description="The acceptance of a machine with an NVIDIA GPU.")
    names = ", ".join(part.name for part in PARTS)
    parser.add_argument("--parts", help=f"some of {names}, separated by commas; else all")
    parser.add_argument("--minutes", type=float, help="what does not fit in these is left out, from the end")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder for what is found")
    parser.add_argument("--fresh", action="store_true", help="run again what passed in an earlier run")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, with stand-ins for the GPU: figures mean nothing"
    )
    given = parser.parse_args(arguments)
    try:
        parts = parts_named(given.parts.split(",") if given.parts else None)
        missing = lacking(parts, card=not given.rehearse)
    except ApcodecError as error:
        _say(f"error: {error}")
        return 2
    for line in told(given.out):
        _say(line)
    for name, what in missing.items():
        _say(f"{name} cannot run: there is no {'; no '.join(what)}")
    if missing:
        _say("nothing was run; bring what is missing, or name other parts with --parts")
        return 2
    acceptance = Acceptance(
        parts=parts,
        folder=given.out.resolve(),
        module=REHEARSED_PART if given.rehearse else PART,
        minutes=given.minutes,
        fresh=given.fresh,
        rehearsed=given.rehearse,
    )
    result = acceptance.run(_say)
    text = table(result)
    (given.out / Path(RESULT).with_suffix(".md").name).write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if passed(result) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
