"""Which files of a folder become what, decided before anything is converted."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.transcoding.leftovers import ATTRIBUTES, holds_attributes
from apcodec_deploy.transcoding.naming import is_input, output_name
from apcodec_deploy.transcoding.walk import LeaveOut, walk


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


def plan_folder(source: Path, output: Path, to: str, leave_out: LeaveOut = lambda path, reason: None) -> list[Task]:
    """Mirror a folder: one task per audio or ``.apc`` file below it, sorted; other files are left alone.

    Links are followed, to files and to folders: a folder that is reached by two names is converted under both. See
    ``walk`` for those that are not. The output folder may lie inside the input folder or around it; it is not read.
    What systems keep beside people's files is left out.

    Args:
        source: The input folder, or a single file.
        output: Where results go.
        to: The kind of result.
        leave_out: Told what is left out that could have been meant.

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
        found = sorted(walk(source, output, is_input, leave_out))
        root = source
    tasks = []
    for path, problem in found:
        if holds_attributes(path):
            leave_out(path, ATTRIBUTES)
            continue
        relative = path.relative_to(root)
        tasks.append(Task(path, output / relative.parent / output_name(path.name, to), problem))
    if not tasks:
        raise AudioError(f"{source} holds no audio and no .apc files")
    return contained(guarded(tasks), source, output)


def contained(tasks: list[Task], source: Path, output: Path) -> list[Task]:
    """Mark the tasks whose output would not lie below the output folder, or among the inputs; all others stay.

    A link can lead out of the output folder. An output folder around the input folder can have it among its results.
    """
    root, inputs = Path(os.path.realpath(output)), Path(os.path.realpath(source))
    around = inputs != root and inputs.is_relative_to(root)
    places: dict[Path, Path] = {}

    def problem(task: Task) -> str | None:
        folder = task.target.parent
        if folder not in places:
            places[folder] = Path(os.path.realpath(folder))
        if task.problem is not None:
            return task.problem
        if not places[folder].is_relative_to(root):
            return f"{task.target} would be outside of {output}, through a link; remove the link"
        if around and places[folder].is_relative_to(inputs):
            return f"{task.target} would stand among the inputs in {source}; choose another output folder"
        return None

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
