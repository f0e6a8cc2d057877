"""Which files of a folder become what, decided before anything is converted."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.transcoding.naming import is_input, output_name


@dataclass(frozen=True, slots=True)
class Task:
    """One file to convert.

    Attributes:
        source: The input.
        target: The output.
        problem: Why it cannot be converted, known before trying; else None.
        span: The part of it to convert; all of it where None.
    """

    source: Path
    target: Path
    problem: str | None = None
    span: Span | None = None


def plan_folder(source: Path, output: Path, to: str) -> list[Task]:
    """Mirror a folder: one task per audio or ``.apc`` file below it, sorted; other files are left alone.

    Links to folders are not followed: not to what they hold, and not out of the output folder. The output folder may
    lie inside the input folder; it is not read.

    Raises:
        AudioError: The input folder does not exist or holds nothing to convert.
        OutputError: Input and output are the same folder, or the output is a file.
    """
    # os.path, because it answers where pathlib raises: for names too long and folders that may not be searched.
    if not os.path.exists(source):
        raise AudioError(f"{source} does not exist, or may not be read")
    if os.path.exists(output) and not os.path.isdir(output):
        raise OutputError(f"{output} is a file; a folder is expected")
    if not os.path.isdir(source):
        found: list[tuple[Path, str | None]] = [(source, None)]
        root = source.parent
    else:
        if os.path.realpath(source) == os.path.realpath(output):
            raise OutputError(f"{source} is both input and output; results would stand among their sources")
        found = sorted(_walk(source, output))
        root = source
    if not found:
        raise AudioError(f"{source} holds no audio and no .apc files")
    tasks = []
    for path, problem in found:
        relative = path.relative_to(root)
        tasks.append(Task(path, output / relative.parent / output_name(path.name, to), problem))
    return guarded(contained(tasks, output))


def contained(tasks: list[Task], output: Path) -> list[Task]:
    """Mark the tasks whose output a link would lead out of the output folder; all others stay."""
    root = os.path.realpath(output)
    inside: dict[Path, bool] = {}

    def leads_out(folder: Path) -> bool:
        if folder not in inside:
            inside[folder] = os.path.commonpath((root, os.path.realpath(folder))) == root
        return not inside[folder]

    def problem(task: Task) -> str | None:
        if task.problem is None and leads_out(task.target.parent):
            return f"{task.target} would be outside of {output}, through a link; remove the link"
        return task.problem

    return [replace(task, problem=problem(task)) for task in tasks]


def guarded(tasks: list[Task]) -> list[Task]:
    """Mark the tasks whose output another one claims, or that would overwrite an input; all others stay."""
    claims: dict[str, list[int]] = defaultdict(list)
    for index, task in enumerate(tasks):
        claims[_place(task.target)].append(index)
    inputs = {place for task in tasks for place in (_place(task.source), os.path.realpath(task.source))}

    def problem(index: int, task: Task) -> str | None:
        if task.problem is not None:
            return task.problem
        if others := [tasks[other].source for other in claims[_place(task.target)] if other != index]:
            names = " and ".join(str(path) for path in others)
            return f"{task.target} would hold this file and {names}; rename one, or convert them to different folders"
        if {_place(task.target), os.path.realpath(task.target)} & inputs:
            return f"its output {task.target} is itself an input, which is never overwritten"
        return None

    return [replace(task, problem=problem(index, task)) for index, task in enumerate(tasks)]


def _place(path: Path) -> str:
    """Where a file is or would be: the same for two ways of naming one place, by links or dots."""
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))


def _walk(source: Path, output: Path) -> Iterator[tuple[Path, str | None]]:
    excluded = os.path.realpath(output)
    errors: list[OSError] = []
    for folder, folders, names in os.walk(source, onerror=errors.append):
        here = Path(folder)
        folders[:] = [name for name in folders if os.path.realpath(here / name) != excluded]
        for name in names:
            path = here / name
            if is_input(path):
                yield path, None
    for error in errors:
        yield Path(error.filename), f"cannot be listed: {error.strerror}"
