"""What was measured, with everything that is needed to judge it; as JSON with a version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import (
    Case,
    Ceiling,
    ContenderRecord,
    Distribution,
    Quality,
    StageTiming,
    Timing,
)
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.files import written_whole

FORMAT = "apcodec-benchmark"
FORMAT_VERSION = 1
_T = TypeVar("_T")
_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]*\]")
"""A list of numbers, one a line; no text of JSON holds an end of line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One run.

    Attributes:
        made: When, in ISO 8601.
        command: What was asked for.
        environment: The machine and the versions; see ``environment``.
        settings: How it was measured.
        contenders: All that were asked for.
        ceilings: The machine's own limits.
        timings: Speed.
        stages: Where the time goes.
        quality: How it sounds, in figures.
    """

    made: str
    command: str
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    contenders: tuple[ContenderRecord, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    timings: tuple[Timing, ...] = ()
    stages: tuple[StageTiming, ...] = ()
    quality: tuple[Quality, ...] = ()

    def contender(self, name: str) -> ContenderRecord:
        """A contender's record by its name."""
        return next(each for each in self.contenders if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        for kind in ("timings", "stages"):
            for item, row in zip(getattr(self, kind), values[kind], strict=True):
                row["times"] = item.times.to_dict()
        for timing, row in zip(self.timings, values["timings"], strict=True):
            row["rtf"] = float(f"{timing.rtf:.6g}")
        return values

    def write(self, file: Path, *, overwrite: bool = True) -> None:
        """Write them, whole or not at all."""
        text = _NUMBERS.sub(_on_one_line, json.dumps(self.to_dict(), indent=1, ensure_ascii=False))
        with written_whole(file, overwrite=overwrite) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Results:
        """Read what ``write`` wrote.

        Raises:
            BenchmarkError: It is something else, of a newer format, or incomplete.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BenchmarkError(f"{file} cannot be read as results ({error}); make some: apcodec bench rtf") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise BenchmarkError(f"{file} holds no results; expected a JSON object with format {FORMAT!r}")
        if (version := values.get("format_version")) != FORMAT_VERSION:
            raise BenchmarkError(f"{file} has format version {version!r}, this program reads {FORMAT_VERSION}")
        try:
            return _results(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BenchmarkError(f"{file} is damaged or incomplete ({error}); measure again") from error


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[0][1:-1].split())}]"


def _results(values: Mapping[str, Any]) -> Results:
    return Results(
        made=str(values["made"]),
        command=str(values["command"]),
        environment=dict(values["environment"]),
        settings=dict(values["settings"]),
        contenders=tuple(_record(row) for row in values["contenders"]),
        ceilings=tuple(_of(Ceiling, row) for row in values["ceilings"]),
        timings=tuple(
            _of(
                Timing,
                {
                    **{key: value for key, value in row.items() if key != "rtf"},
                    "case": _of(Case, row["case"]),
                    "times": Distribution.from_dict(row["times"]),
                    "warnings": tuple(row["warnings"]),
                },
            )
            for row in values["timings"]
        ),
        stages=tuple(
            _of(StageTiming, {**row, "times": Distribution.from_dict(row["times"])}) for row in values["stages"]
        ),
        quality=tuple(_of(Quality, {**row, "agreement": tuple(row["agreement"])}) for row in values["quality"]),
    )


def _record(row: Mapping[str, Any]) -> ContenderRecord:
    facts = row["facts"]
    made = None if facts is None else _of(Facts, {**facts, "notes": tuple(facts["notes"])})
    return _of(ContenderRecord, {**row, "facts": made, "failures": tuple(row["failures"])})


def _of(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """A dataclass from JSON values; missing and unknown keys are an error."""
    unknown: Sequence[str] = sorted(set(values) - {each.name for each in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"unknown keys of {kind.__name__}: {', '.join(unknown)}")
    return kind(**values)
