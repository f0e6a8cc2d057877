"""A whole acceptance: parts in processes of their own, as many as fit the time, those that passed before left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apcodec_benchmarks.acceptance.journal import ENDED, FAILED, LEFT_OUT, PASSED, RUNNING, found_in
from apcodec_benchmarks.acceptance.parts import PARTS, Part
from apcodec_benchmarks.environment import environment
from apcodec_deploy.files import written_whole

FORMAT = "apcodec-acceptance"
FORMAT_VERSION = 1
RESULT = "acceptance.json"
REHEARSED = "rehearsal"
INTERRUPTED = "it was interrupted; the same command goes on"
_KILL_SECONDS = 5.0
_OVERHEAD = 5.0
"""Seconds that a part's process takes besides its work."""
_PATIENCE = 5.0
"""In a rehearsal a part may take so many times its limit, which is that of a card: there two CPUs stand in for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What is to be run.

    Attributes:
        parts: In their order.
        folder: Journals, logs and the result go there.
        module: Run as ``python -m MODULE PART FOLDER WHERE`` for each part, and ended where its stdin ends.
        minutes: That may be spent; no limit where None.
        fresh: Whether parts that passed before run again.
        rehearsed: Whether it is a rehearsal, whose figures mean nothing.
    """

    parts: Sequence[Part]
    folder: Path
    module: str
    minutes: float | None = None
    fresh: bool = False
    rehearsed: bool = False

    def run(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Run the parts; the result is written after each. An interrupt ends the part at hand and the run.

        Returns:
            The result, as JSON values.
        """
        begun = time.monotonic()
        before = environment()
        where = REHEARSED if self.rehearsed else ", ".join(card["name"] for card in before["gpus"]) or "no GPU"
        self.folder.mkdir(parents=True, exist_ok=True)
        outcomes: dict[str, dict[str, Any]] = {}
        waiting = [part for part in self.parts if self.fresh or not self._passed(part, where)]
        for part in self.parts:
            if part not in waiting:
                outcomes[part.name] = {"note": "passed in an earlier run"}
                say(f"{part.name}: passed before; --fresh runs it again")
        result = self._result(before, where, outcomes)
        while waiting:
            part = waiting.pop(0)
            left = None if self.minutes is None else 60 * self.minutes - (time.monotonic() - begun)
            if left is not None and left < part.seconds + _OVERHEAD:
                for each in (part, *waiting):
                    outcomes[each.name] = {"status": LEFT_OUT}
                    say(f"{each.name}: left out, {max(left, 0):.0f} s are left and it takes {each.seconds:.0f} s")
                return self._result(before, where, outcomes)
            say(f"{part.name}: {part.title}")
            limit = part.limit * (_PATIENCE if self.rehearsed else 1)
            outcome = outcomes[part.name] = self._run(part, where, limit if left is None else min(limit, left))
            result = self._result(before, where, outcomes)
            say(f"{part.name}: {_summary(next(each for each in result['parts'] if each['part'] == part.name))}")
            if outcome.get("problem") == INTERRUPTED:
                break
        return result

    def _passed(self, part: Part, where: str) -> bool:
        return bool(found_in(self.folder, part.name, where).get("status") == PASSED)

    def _run(self, part: Part, where: str, limit: float) -> dict[str, Any]:
        """One part in its process, whose output goes to a log beside its journal."""
        begun = time.monotonic()
        (self.folder / f"{part.name}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", self.module, part.name, str(self.folder), where]
        with (
            (self.folder / f"{part.name}.log").open("w", encoding="utf-8") as log,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            ) as process,
        ):
            try:
                code = process.wait(limit)
                end = {} if code in (0, 1) else {"status": ENDED, "problem": f"its process ended with code {code}"}
            except subprocess.TimeoutExpired:
                end = {"status": ENDED, "problem": f"it took longer than its {limit:.0f} s"}
            except KeyboardInterrupt:
                end = {"status": ENDED, "problem": INTERRUPTED}
            finally:
                _end(process)
        return {"took": round(time.monotonic() - begun, 1), **end}

    def _result(
        self, before: Mapping[str, Any], where: str, outcomes: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """What this run found, and what earlier ones found here in parts that this one was not asked for."""
        parts = []
        asked = [part.name for part in self.parts]
        for part in {each.name: each for each in (*PARTS, *self.parts)}.values():
            found = found_in(self.folder, part.name, where)
            if part.name not in outcomes and (part.name in asked or not found):
                continue
            held = {"part": part.name, "checks": [], "facts": {}, "figures": [], "status": RUNNING}
            merged = {**held, "title": part.title, **found, **outcomes.get(part.name, {"note": "of an earlier run"})}
            if merged["status"] == RUNNING:
                merged |= {"status": ENDED, "problem": f"it said nothing of its end; see {part.name}.log"}
            parts.append(merged)
        result = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "rehearsed": self.rehearsed,
            "environment": before,
            "parts": parts,
        }
        with written_whole(self.folder / RESULT, overwrite=True) as temporary:
            temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return result


def passed(result: Mapping[str, Any], parts: Sequence[Part]) -> bool:
    """Whether none of some parts failed or was ended; what was left out has not failed."""
    names = [part.name for part in parts]
    return all(part["status"] not in (FAILED, ENDED) for part in result["parts"] if part["part"] in names)


def _summary(part: Mapping[str, Any]) -> str:
    wrong = [check for check in part["checks"] if not check["passed"]]
    words = [f"{part['status']} in {part['took']:.0f} s, {len(part['checks'])} checks, {len(part['figures'])} figures"]
    words += [part["problem"]] if part.get("problem") else []
    words += [f"FAILED {check['what']}: {check['detail']}" for check in wrong]
    return "\n  ".join(words)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all that it started: it leads a session of its own."""
    if process.poll() is not None:
        return
    for number in (15, 9):
        try:
            os.killpg(process.pid, number)
            process.wait(_KILL_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return
