"""Files that appear whole or not at all, and inputs that are files."""

from __future__ import annotations

import os
import secrets
import stat
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
        OutputError: The target exists and may not be overwritten, is no file, or cannot be written.
    """
    _check_target(target, overwrite=overwrite)
    # Not the target's name with something added, which could be longer than a name may be.
    temporary = target.with_name(f".apcodec-{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _put(temporary, target, overwrite=overwrite)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.name:
        raise OutputError(f"{target} is a folder; a file is expected")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise OutputError(f"{target} exists; --overwrite replaces it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{target} is no regular file, so it is not replaced")


def _put(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename, or link where a file that has appeared meanwhile must not be lost."""
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise OutputError(f"{target} has appeared meanwhile; --overwrite replaces it") from None
    except OSError:  # a file system without links
        temporary.replace(target)


def open_input(path: Path) -> BinaryIO:
    """Open a regular file for reading: a pipe or a device could keep a whole job waiting, and cannot be sought in.

    Raises:
        AudioError: It is no regular file, or cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioError(f"{path} is no regular file; copy what it gives into one first")
        return path.open("rb")
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
