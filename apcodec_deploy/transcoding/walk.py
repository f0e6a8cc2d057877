"""Every file below a folder, by whatever links it is reached, but for those that no job should read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.transcoding.leftovers import SYSTEM_FOLDER, is_system_folder

LeaveOut = Callable[[Path, str], None]
"""Told of a path that is left out, and why."""
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def walk(
    source: Path, output: Path | None, wanted: Callable[[Path], bool], leave_out: LeaveOut
) -> Iterator[tuple[Path, str | None]]:
    """The wanted files below a folder, each with what is wrong with it if that is known.

    Links to folders are followed as if the folders stood there, unless they lead back to one that they stand in, into
    the output folder, or nowhere. The output folder is not read, wherever it lies.

    Args:
        source: The folder.
        output: The output folder, which may lie in it or around it; None where there is none.
        wanted: Whether a file is, by its name.
        leave_out: Told of links that are not followed, but for those that lead back: what they lead to is read anyway.
            Told of folders that systems keep, too.
    """
    border = _Border.between(source, output)
    waiting = [_Folder(str(source), _identity(str(source)), None)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder.path) as scan:
                entries = list(scan)
        except OSError as error:
            yield Path(folder.path), f"cannot be listed: {error.strerror or error}"
            continue
        for entry in entries:
            path = Path(entry.path)
            try:
                inner = _Folder(entry.path, _identity(entry.path), folder) if entry.is_dir() else None
                if inner is None and entry.is_symlink():
                    os.stat(entry.path)
            except OSError as error:
                if wanted(path):
                    yield path, None  # whoever reads it says why it cannot be read
                elif error.errno in _NOWHERE:
                    leave_out(path, "a link that leads nowhere")
                else:
                    yield path, f"cannot be followed: {error.strerror or error}"
                continue
            if inner is None:
                if wanted(path):
                    yield path, None
            elif is_system_folder(entry.name):
                leave_out(path, SYSTEM_FOLDER)
            elif border.bars(inner, linked=entry.is_symlink()):
                if entry.is_symlink():
                    leave_out(path, "a link into the output folder")
            elif not inner.leads_back():
                waiting.append(inner)


_Identity = tuple[int, int]
"""Device and number of a folder: the same by whatever name."""


def _identity(path: str) -> _Identity:
    found = os.stat(path)
    return found.st_dev, found.st_ino


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to read, and the one that it was found in."""

    path: str
    identity: _Identity
    found_in: _Folder | None

    def leads_back(self) -> bool:
        """Whether it is one of those that it stands in, by a link."""
        folder = self.found_in
        while folder is not None:
            if folder.identity == self.identity:
                return True
            folder = folder.found_in
        return False


@dataclass(frozen=True, slots=True)
class _Border:
    """The output folder, as one that is not read."""

    source: Path
    output: Path | None
    identity: _Identity | None

    @classmethod
    def between(cls, source: Path, output: Path | None) -> _Border:
        if output is None:
            return cls(source, None, None)
        real = os.path.realpath(output)
        return cls(Path(os.path.realpath(source)), Path(real), _identity(real) if os.path.isdir(real) else None)

    def bars(self, folder: _Folder, *, linked: bool) -> bool:
        """Whether a folder is the output folder, or, by a link, one inside it that is no input."""
        if folder.identity == self.identity:
            return True
        if not linked or self.output is None:
            return False
        real = Path(os.path.realpath(folder.path))
        inside = real.is_relative_to(self.output)
        return inside and not (self.source.is_relative_to(self.output) and real.is_relative_to(self.source))
