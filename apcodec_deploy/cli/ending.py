"""How ``apcodec transcode`` ends: a pair of files to compare, and the command that usually comes next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli.units import size
from apcodec_deploy.transcoding.naming import ARRAYS, CODES, is_codes
from apcodec_deploy.transcoding.report import Outcome, Report, Result

_ENOUGH = 2.0
"""Seconds of a clip that are worth listening to."""


def ending(done: Report, source: Path, output: Path, to: str, model: Path | None) -> list[str]:
    """The lines that follow the summary.

    Args:
        done: What became of all files.
        source: The input folder.
        output: The output folder.
        to: What was written.
        model: The bundle; the embedded demo model where None.
    """
    if (shown := _shown(done.of(Outcome.DONE))) is None:
        skipped = f"{output} holds these results already. --overwrite makes them anew."
        return [skipped] if len(done.of(Outcome.SKIPPED)) > len(done.barred) else []
    before, after = shown.task.source, shown.task.target
    codes = to in (CODES, ARRAYS)
    bitrate = Bundle.find(model).spec.bitrate
    rate = f"{bitrate / 1000:.3g} kbit/s per channel"
    if codes:
        lines = [
            f"One of them, {rate}:",
            f"  before  {before}  ({_size(before)})",
            f"  codes   {after}  ({_size(after)})",
        ]
    elif is_codes(before):
        lines = [f"Listen to one of them, {rate}:", f"  {after}"]
    else:
        lines = [f"Listen to one of them, {rate}:", f"  before  {before}", f"  after   {after}"]
    return lines + _next(source, output, model, codes=codes, decoded=is_codes(before))


def _next(source: Path, output: Path, model: Path | None, *, codes: bool, decoded: bool) -> list[str]:
    if codes:
        return ["Next, check all of them, now or at any later time:", f"  apcodec verify {_quoted(output)}"]
    if model is None:
        return [
            "This was the small demo model. Next, take your own checkpoint:",
            "  apcodec export CHECKPOINT_DIR my-bundle",
        ]
    if decoded:
        return []
    command = f"apcodec transcode {_quoted(source)} codes --to apc --model {_quoted(model)}"
    return ["Next, keep the codes:", f"  {command}"]


def _shown(done: Sequence[Result]) -> Result | None:
    """The shortest file that is long enough to judge; else the longest there is."""

    def seconds(result: Result) -> float:
        return result.converted.seconds if result.converted else 0.0

    if long_enough := [each for each in done if seconds(each) >= _ENOUGH]:
        return min(long_enough, key=seconds)
    return max(done, key=seconds, default=None)


def _size(path: Path) -> str:
    try:
        return size(os.stat(path).st_size)
    except OSError:  # it may have been moved since
        return "gone"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
