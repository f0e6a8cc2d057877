"""What a part finds, on disk from the first line on: whatever ends its process, what it found stays."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apcodec_benchmarks.measurements import Case, Distribution
from apcodec_deploy.files import written_whole

RUNNING, PASSED, FAILED, ENDED, LEFT_OUT = "running", "passed", "failed", "ended", "left out"


class Journal:
    """The findings of one part: ``checks`` that pass or fail, ``facts``, and ``figures`` of speed."""

    def __init__(self, folder: Path, part: str, where: str = "") -> None:
        """Begin an empty one, which replaces an older one of the part.

        Args:
            folder: Of the whole run.
            part: Whose.
            where: The cards, or that it is a rehearsal: findings of different places are never put together.
        """
        self.folder, self.where = folder, where
        self._file = folder / f"{part}.json"
        self._held: dict[str, Any] = {"part": part, "where": where, "status": RUNNING}
        self._held |= {"checks": [], "facts": {}, "figures": []}
        self._write()

    def check(self, what: str, passed: bool, detail: str = "") -> None:
        """Something that must be so."""
        self._held["checks"].append({"what": what, "passed": bool(passed), "detail": detail})
        self._write()

    def fact(self, name: str, value: Any) -> None:
        """Something worth knowing, as JSON takes it."""
        self._held["facts"][name] = value
        self._write()

    def figure(
        self,
        what: str,
        case: Case,
        times: Distribution,
        *,
        share: float | None = None,
        limit: str | None = None,
        stage: str | None = None,
    ) -> None:
        """A figure of speed.

        Args:
            what: What ran, like ``ONNX Runtime float16``.
            case: What was timed.
            times: Seconds per call.
            share: Of what the card could do, by its measured ceilings.
            limit: What takes the most of the least time: arithmetic, memory, copies or launches.
            stage: The part of the case that was timed, where it is not the whole.
        """
        row = {
            "what": what,
            "operation": case.operation,
            "batch": case.batch,
            "seconds": case.seconds,
            "copies": case.copies,
            "clock": case.clock,
            "stage": stage,
            "times": times.to_dict(),
            "real_time": float(f"{case.audio_seconds / times.median:.5g}"),
            "ceiling_share": share and float(f"{share:.3g}"),
            "limit": limit,
        }
        self._held["figures"].append(row)
        self._write()

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """What fails inside is a failed check, and the part goes on."""
        try:
            yield
        except Exception as error:  # a backend's or a codec's own: all of them are findings
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = str(error) or type(error).__name__
            self.check(what, False, f"{said} ({Path(place.filename).name}:{place.lineno})")

    def end(self) -> bool:
        """Say how it went: passed where every check did."""
        passed = all(check["passed"] for check in self._held["checks"])
        self._held["status"] = PASSED if passed else FAILED
        self._write()
        return passed

    def _write(self) -> None:
        with written_whole(self._file, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self._held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def found_in(folder: Path, part: str, where: str) -> dict[str, Any]:
    """What a part has found so far in a place; nothing where there is none, a damaged one, or that of another place."""
    try:
        held = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) and held.get("where") == where else {}
