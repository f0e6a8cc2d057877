"""Files that appear whole or not at all, and inputs that are files."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from apcodec_deploy.errors import AudioError, OutputError

_PARTIAL_PREFIX = ".apcodec-"
PARTIAL_SUFFIX = ".part"
_being_written = set[Path]()


def partial_path(target: Path) -> Path:
    """Where a job that has its output folder to itself writes a file before it stands: the same place every time.

    What a killed run left there is what the next one writes over, so such files do not pile up.
    """
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=6).hexdigest()
    return target.with_name(f"{_PARTIAL_PREFIX}{digest}{PARTIAL_SUFFIX}")


@contextmanager
def partially_written(target: Path) -> Iterator[Path]:
    """Give ``partial_path`` of a target to write; it stays when the block ends without an error, for ``put_in_place``.

    Raises:
        OutputError: It cannot be written.
    """
    partial = partial_path(target)
    _being_written.add(partial)
    try:
        with output_errors(target):
            make_folder(target.parent)
            yield partial
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    finally:
        _being_written.discard(partial)


def put_in_place(target: Path, *, overwrite: bool) -> None:
    """Move what was written to ``partial_path`` of a target to the target.

    Raises:
        OutputError: The target exists and may not be overwritten, is no file, or cannot be written.
    """
    partial = partial_path(target)
    try:
        with output_errors(target):
            _check_target(target, overwrite=overwrite)
            _put(partial, target, overwrite=overwrite)
    finally:
        with suppress(OSError):
            partial.unlink()


def unfinished() -> list[Path]:
    """Files that this process has begun and neither put in place nor removed, as in a thread that it leaves."""
    return sorted(path for path in _being_written.copy() if os.path.lexists(path))


def is_partial(path: Path) -> bool:
    """Whether a file is one that is being written, or was when its program was killed."""
    return path.name.startswith(_PARTIAL_PREFIX) and path.suffix == PARTIAL_SUFFIX


@contextmanager
def written_whole(target: Path, *, overwrite: bool, temporary: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that takes its place when the block ends without an error.

    After an error, or Ctrl-C, the temporary file is removed and ``target`` is as it was.

    Args:
        target: What is to appear.
        overwrite: Replace what is there.
        temporary: The temporary path, in the folder of ``target``; one of our own where None.

    Raises:
        OutputError: The target exists and may not be overwritten, is no file, or cannot be written.
    """
    _check_target(target, overwrite=overwrite)
    if temporary is None:
        # Not the target's name with something added, which could be longer than a name may be.
        temporary = target.with_name(f"{_PARTIAL_PREFIX}{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
    _being_written.add(temporary)
    try:
        with output_errors(target):
            make_folder(target.parent)
            yield temporary
            _put(temporary, target, overwrite=overwrite)
    finally:
        with suppress(OSError):
            temporary.unlink()
        _being_written.discard(temporary)


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target`` that takes its place when the block ends without an error.

    A folder that is there is replaced: whether it may be, the caller has asked.

    Raises:
        OutputError: It cannot be written.
    """
    token = secrets.token_hex(4)
    fresh, replaced = (target.with_name(f".{target.name}.{token}.{kind}") for kind in ("part", "old"))
    try:
        with output_errors(target):
            make_folder(target.parent)
            fresh.mkdir()
            yield fresh
            if target.exists():
                target.rename(replaced)
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if not os.path.exists(target) and os.path.exists(replaced):
            replaced.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OSError: It cannot be made; ``NotADirectoryError`` where a file has its name or that of one above it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # which says nothing of what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """The system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error


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
    except OSError as error:  # a file system without links
        if os.path.lexists(target):
            raise OutputError(f"{target} has appeared meanwhile; --overwrite replaces it") from error
        temporary.replace(target)


def locked(descriptor: int) -> bool:
    """Lock an open file until it is closed, or say that somebody else has it locked.

    Where there are no locks (Windows, some network file systems) everybody gets one.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def in_use(path: Path) -> bool:
    """Whether somebody holds a lock on a file."""
    with path.open("rb") as file:
        return not locked(file.fileno())


class _Input(io.FileIO):
    """A file whose errors are ours: those of a failing disk or a lost network drive must not pass for the output's."""

    def readinto(self, buffer: Any, /) -> int:
        with _input_errors(self.name):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _input_errors(self.name):
            return super().readall()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with _input_errors(self.name):
            return super().seek(offset, whence)


@contextmanager
def _input_errors(path: Any) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error


def open_input(path: Path) -> BinaryIO:
    """Open a regular file for reading: a pipe or a device could keep a whole job waiting, and cannot be sought in.

    Raises:
        AudioError: It is no regular file, or cannot be opened; later, from the file: it cannot be read.
    """
    with _input_errors(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioError(f"{path} is no regular file; copy what it gives into one first")
        return io.BufferedReader(_Input(path))
