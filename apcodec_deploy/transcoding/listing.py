"""Files to convert from a list instead of a folder: paths, or a table of paths and parts of them."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.folder import Task, contained, guarded
from apcodec_deploy.transcoding.naming import output_name

COLUMNS = ("path", "start", "end", "name")
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list.

    Attributes:
        path: As it stands there, below the input folder.
        span: The part to convert; all of it where None.
        name: What the result is called, without its ending; where None, what its path and part make.
        problem: What is wrong with the line.
    """

    path: str
    span: Span | None = None
    name: str | None = None
    problem: str | None = None


def read_list(path: str) -> list[Entry]:
    """Read a list.

    Args:
        path: A ``.csv`` with a header line or a ``.jsonl``, of ``path`` and, where wanted, ``start`` and ``end`` in
            seconds and ``name``; any other file has one path a line, or ends each with a zero byte, as ``find -print0``
            does. ``-`` reads the latter from standard input.

    Raises:
        AudioError: It cannot be read, or is no such list. A line that is wrong is an entry with a problem.
    """
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
    kind = os.path.splitext(path)[1].lower()
    if kind == ".csv":
        return list(_rows(path, csv.DictReader(io.StringIO(os.fsdecode(data), newline=""))))
    if kind == ".jsonl":
        return list(_rows(path, _json_lines(data)))
    separator = b"\0" if b"\0" in data else b"\n"
    lines = (line.removesuffix(b"\r") if separator == b"\n" else line for line in data.split(separator))
    return [Entry(os.fsdecode(line)) for line in lines if line]


def plan_list(entries: Sequence[Entry], source: Path, output: Path, to: str) -> list[Task]:
    """One task for each entry, in their order; entries that repeat one count once.

    Args:
        entries: Their paths are below ``source``.
        source: The input folder.
        output: Results mirror it.
        to: The kind of result.

    Raises:
        AudioError: The list is empty.
    """
    if not entries:
        raise AudioError("the list of files is empty")
    return guarded(contained([_task(entry, source, output, to) for entry in dict.fromkeys(entries)], output))


def _task(entry: Entry, source: Path, output: Path, to: str) -> Task:
    path = source / entry.path
    relative = os.path.normpath(os.path.relpath(path, source))
    name = entry.name or (relative if entry.span is None else f"{relative}.{entry.span}")
    problem = entry.problem
    if problem is None and (_leads_out(relative) or _leads_out(os.path.normpath(name))):
        problem = f"{entry.path!r} is not below {source}, or its name not below {output}"
        name = os.path.basename(path)
    parent, _, base = os.path.normpath(name).rpartition(os.sep)
    return Task(path, output / parent / output_name(base, to), problem, entry.span)


def _leads_out(path: str) -> bool:
    return os.path.isabs(path) or path.split(os.sep)[0] in ("..", ".", "")


def _json_lines(data: bytes) -> Iterator[Any]:
    for line in data.splitlines():
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                yield error


def _rows(path: str, rows: Iterable[Any]) -> Iterator[Entry]:
    for number, row in enumerate(rows, 1):
        where = f"row {number} of {path}"
        if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not row["path"]:
            yield Entry(where, problem=f"{where} names no path; columns are {', '.join(COLUMNS)}")
            continue
        try:
            start, end = (_seconds(row.get(name)) for name in ("start", "end"))
            span = None if start is None and end is None else Span(start or 0.0, end)
            yield Entry(row["path"], span, row.get("name") or None)
        except (AudioError, ValueError, TypeError) as error:
            yield Entry(row["path"], problem=f"{where}: {error}")


def _seconds(value: Any) -> float | None:
    return None if value is None or value == "" else float(value)
