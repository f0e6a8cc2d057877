"""Files to convert from a list instead of a folder: paths, or a table of paths and parts of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.folder import Task, contained, guarded
from apcodec_deploy.transcoding.leftovers import ATTRIBUTES, holds_attributes
from apcodec_deploy.transcoding.naming import as_name, output_name
from apcodec_deploy.transcoding.table import Row, Table, text_of
from apcodec_deploy.transcoding.walk import LeaveOut

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
    """Read a list, as programs or people write it; ``table`` says what else than plain lines is known.

    Args:
        path: A ``.csv`` or ``.tsv`` whose first line names the columns, or a ``.jsonl``, of ``path`` and, where wanted,
            ``start`` and ``end`` in seconds and ``name``. A part that has no ``end`` may have a ``duration``. Any other
            file has one path a line, or ends each with a zero byte, as ``find -print0`` does; one whose first line
            names the column ``path`` is a table, too. ``-`` reads such a file from standard input.

    Raises:
        AudioError: It cannot be read, or is no such list. A line that is wrong is an entry with a problem.
    """
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
    text = text_of(path, data)
    if (table := Table.of(path, text)) is not None:
        return [_entry(row) for row in table.rows()]
    if "\0" in text:
        lines = text.split("\0")
    elif "\n" in text:
        lines = [line.removesuffix("\r") for line in text.split("\n")]
    else:
        lines = text.split("\r")  # as an old Mac ends lines
    return [Entry(as_name(line)) for line in lines if line.strip()]


def plan_list(
    entries: Sequence[Entry],
    source: Path,
    output: Path,
    to: str,
    leave_out: LeaveOut = lambda path, reason: None,
) -> list[Task]:
    """One task for each entry, in their order; entries that repeat one count once.

    A path with blanks or quotes around it is the file that has them in its name, if there is one, else the one without.

    Args:
        entries: Their paths are below ``source``.
        source: The input folder.
        output: Results mirror it.
        to: The kind of result.
        leave_out: Told of entries that are left out: attributes of macOS, which ``find`` lists among the audio.

    Raises:
        AudioError: The list is empty.
    """
    if not entries:
        raise AudioError("the list of files is empty")
    tasks = []
    for entry in dict.fromkeys(replace(entry, path=_meant(entry, source)) for entry in entries):
        if entry.problem is None and holds_attributes(source / entry.path):
            leave_out(source / entry.path, ATTRIBUTES)
        else:
            tasks.append(_task(entry, source, output, to))
    if not tasks:
        raise AudioError("the list of files names no audio")
    return contained(guarded(tasks), source, output)


def _entry(row: Row) -> Entry:
    if row.problem is not None:
        return Entry(row.where, problem=row.problem)
    if not row.text("path"):
        return Entry(row.where, problem=f"{row.where} names no path; {row.found}")
    try:
        path, name = as_name(row.text("path")), as_name(row.text("name").strip())
    except ValueError as error:
        return Entry(row.where, problem=f"{row.where}: {error}")
    try:
        start, end = row.seconds("start"), row.seconds("end")
        if start is not None and end is None and (duration := row.seconds("duration")) is not None:
            end = start + duration
        span = None if start is None and end is None else Span(start or 0.0, end)
        return Entry(path, span, name or None)
    except (AudioError, ValueError, TypeError) as error:
        return Entry(path, problem=f"{row.where}: {error}")


def _meant(entry: Entry, source: Path) -> str:
    """The path that a line means."""
    path, bare = entry.path, entry.path.strip()
    if entry.problem is not None or os.path.lexists(source / path):
        return path
    if len(bare) > 2 and bare[0] == bare[-1] == '"' and not os.path.lexists(source / bare):
        return bare[1:-1].replace('""', '"')
    return bare


def _task(entry: Entry, source: Path, output: Path, to: str) -> Task:
    path = source / entry.path
    relative = os.path.relpath(path, source)
    if _leads_out(relative) and os.path.isabs(entry.path):  # it may still be below, by a link
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(source))
    name = entry.name or (relative if entry.span is None else f"{relative}.{entry.span}")
    problem = entry.problem
    if problem is None and (_leads_out(relative) or _leads_out(os.path.normpath(name))):
        problem = f"{entry.path!r} is not below {source}, or its name not below {output}"
        name = os.path.basename(path)
    if problem is None and not _is_utf8(entry.path) and not os.path.lexists(path):
        problem = f"{path} does not exist; the list is not in UTF-8, which Excel calls 'CSV UTF-8': save it so"
    parent, _, base = os.path.normpath(name).rpartition(os.sep)
    return Task(path, output / parent / output_name(base, to), problem, entry.span)


def _leads_out(path: str) -> bool:
    return os.path.isabs(path) or path.split(os.sep)[0] in ("..", ".", "")


def _is_utf8(name: str) -> bool:
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return False
    return True
