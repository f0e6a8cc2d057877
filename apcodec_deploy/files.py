"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from apcodec_deploy.errors import AudioError, OutputError

PARTIAL_SUFFIX = ".part"


@contextmanager
def written_whole(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that takes its place when the block ends without an error.

    After an error, or Ctrl-C, the temporary file is removed and ``target`` is as it was.

    Raises:
        OutputError: The target exists and may not be overwritten, or cannot be written.
    """
    if not overwrite and os.path.lexists(target):
        raise OutputError(f"{target} exists; --overwrite replaces it")
    if not target.name:
        raise OutputError(f"{target} is a folder")
    # Not the target's name with something added, which could be longer than a name may be.
    temporary = target.with_name(f".apcodec-{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def open_input(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        AudioError: It cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
