"""The program behind ``scripts/gpu``: what is asked for, what is missing, and the table at the end."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from apcodec_benchmarks.acceptance.parts import PARTS, parts_named
from apcodec_benchmarks.acceptance.readiness import lacking, told
from apcodec_benchmarks.acceptance.running import RESULT, Acceptance, passed
from apcodec_benchmarks.acceptance.table import table
from apcodec_deploy.errors import ApcodecError

PART = "apcodec_benchmarks.acceptance.process"
REHEARSED_PART = "gpu_simulator.rehearsal"
"""Beside the tests, with all stand-ins."""
FOLDER, REHEARSED_FOLDER = "gpu-results", "gpu-results/rehearsal"


def main(arguments: list[str] | None = None) -> int:
    """Run it; exit 0 if no part failed, 1 if one did or was interrupted, 2 if something is missing or wrong."""
    begun = time.time()
    parser = argparse.ArgumentParser(prog="scripts/gpu", description="The acceptance of a machine with an NVIDIA GPU.")
    names = ", ".join(part.name for part in PARTS)
    parser.add_argument("--parts", help=f"some of {names}, separated by commas; else all")
    parser.add_argument("--minutes", type=float, help="what does not fit in these is left out, from the end")
    parser.add_argument("--out", type=Path, help=f"folder for what is found; else {FOLDER}, or {REHEARSED_FOLDER}")
    parser.add_argument("--begun", type=float, default=begun, help=argparse.SUPPRESS)  # the set-up counts, too
    parser.add_argument("--fresh", action="store_true", help="run again what passed in an earlier run")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, with stand-ins for the GPU: figures mean nothing"
    )
    given = parser.parse_args(arguments)
    folder = (given.out or Path(REHEARSED_FOLDER if given.rehearse else FOLDER)).resolve()
    try:
        parts = parts_named(given.parts.split(",") if given.parts else None)
        for line in told(folder, card=not given.rehearse):
            _say(line)
        missing = lacking(parts, card=not given.rehearse)
    except ApcodecError as error:
        _say(f"error: {error}")
        return 2
    for name, what in missing.items():
        _say(f"{name} cannot run: there is no {'; no '.join(what)}")
    if missing:
        _say("nothing was run; bring what is missing, or name other parts with --parts")
        return 2
    acceptance = Acceptance(
        parts=parts,
        folder=folder,
        module=REHEARSED_PART if given.rehearse else PART,
        minutes=None if given.minutes is None else given.minutes - (time.time() - given.begun) / 60,
        fresh=given.fresh,
        rehearsed=given.rehearse,
    )
    result = acceptance.run(_say)
    text = table(result)
    (folder / Path(RESULT).with_suffix(".md").name).write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if passed(result, parts) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def listen() -> None:
    """Let a request to end, or a terminal that is gone, be an interrupt: what was found is written then."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _interrupt)
