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
        targets = [source.with_name(output_name(source.name, to)) for source in inputs]
    elif len(inputs) == 1 and not is_folder(output):
        targets = [Path(output)]
    elif Path(output).exists() and not Path(output).is_dir():
        raise OutputError(f"{output} is a file; {len(inputs)} inputs need a folder")
    else:
        targets = [Path(output) / output_name(source.name, to) for source in inputs]
    pairs = zip(inputs, targets, strict=True)
    return guarded([Task(source, target, _problem(source, to)) for source, target in pairs])


def is_folder(output: str) -> bool:
    """Whether the user means a folder: one that is there, or a name with a slash at its end."""
    return Path(output).is_dir() or output.endswith(_ENDINGS)


def _problem(source: Path, to: str) -> str | None:
    """Why an input is none, where its name or kind tells."""
    if source.is_dir():
        return f"{source} is a folder; 'apcodec transcode' converts folders"
    if to == CODES and is_codes(source):
        return f"{source} holds codes already"
    if to != CODES and not is_codes(source):
        return f"{source} is not a .apc file; 'apcodec encode' makes one"
    return None
