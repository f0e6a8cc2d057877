"""Where the results of files named one by one go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from apcodec_deploy.errors import OutputError
from apcodec_deploy.transcoding.folder import Task, guarded
from apcodec_deploy.transcoding.naming import CODES, is_codes, output_name

_ENDINGS = (os.sep, os.altsep or os.sep)


def tasks_for(inputs: Sequence[Path], output: str | None, to: str) -> list[Task]:
    """One task per input: beside it, in the folder ``output``, or, for one input, the file ``output``.

    Raises:
        OutputError: Several inputs and a file to put them in.
    """
    if output is None:
        targets = [source.parent / output_name(source.name, to) for source in inputs]
    elif names_file(inputs, output):
        targets = [Path(output)]
    elif os.path.exists(output) and not os.path.isdir(output):
        raise OutputError(f"{output} is a file; {len(inputs)} inputs need a folder")
    else:
        targets = [Path(output) / output_name(source.name, to) for source in inputs]
    pairs = zip(inputs, targets, strict=True)
    return guarded([Task(source, target, _problem(source, target, to)) for source, target in pairs])


def names_file(inputs: Sequence[Path], output: str) -> bool:
    """Whether ``output`` is the file for one input: no folder that is there, and no name with a slash at its end."""
    return len(inputs) == 1 and not os.path.isdir(output) and not output.endswith(_ENDINGS)


def ending(inputs: Sequence[Path], output: str | None) -> str:
    """What the file that ``output`` names ends in, without its dot; nothing where it names none."""
    return Path(output).suffix[1:].lower() if output and names_file(inputs, output) else ""


def codes_file(output: Path) -> Path:
    """A file to write codes into.

    Raises:
        OutputError: It is none by its name; ``-`` would be a file of that name.
    """
    if not is_codes(output):
        raise OutputError(f"codes go into a .apc file, not {output}")
    return output


def _problem(source: Path, target: Path, to: str) -> str | None:
    """Why an input is none, or an output cannot be, where names or kinds tell."""
    if os.path.isdir(source):
        return f"{source} is a folder; 'apcodec transcode' converts folders"
    if to == CODES and is_codes(source):
        return f"{source} holds codes already"
    if to == CODES and not is_codes(target):
        return f"codes go into a .apc file, not {target}"
    if to != CODES and not is_codes(source):
        return f"{source} is not a .apc file; 'apcodec encode' makes one"
    return None
