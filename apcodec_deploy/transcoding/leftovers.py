"""What operating systems leave beside people's files, and what of it looks like audio but is none.

macOS keeps the attributes of `a.wav` in `._a.wav` on file systems that have no place for them, in archives and on
network drives; Netatalk keeps them in `.AppleDouble/a.wav`. Such files begin with a mark of their own, and only that
tells: a name that begins with `._` may be a recording's. Folders of deleted files and of snapshots hold audio that
its owner does not count as there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from apcodec_deploy.transcoding.naming import as_text

ATTRIBUTES = "what macOS keeps beside a file in AppleDouble form, no audio"
SYSTEM_FOLDER = "a folder of deleted files, or of what a system keeps"
_NAMED = 10
"""Paths that are named of many that are left out for one reason."""
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_APPLE_FOLDERS = (".AppleDouble", "__MACOSX")
_SYSTEM_FOLDERS = frozenset(
    {
        *(".Trash", ".Trashes", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "lost+found"),
        *("#recycle", "@Recycle", "@eaDir", "#snapshot", ".snapshot", ".zfs", ".Spotlight-V100", ".fseventsd"),
    }
)
_SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def is_system_folder(name: str) -> bool:
    """Whether a folder is one of deleted files, of snapshots, or of what a system or a drive keeps, by its name."""
    return name in _SYSTEM_FOLDERS or name.startswith(".Trash-")


def is_system_file(path: Path) -> bool:
    """Whether a file is nobody's own: a view that a file manager keeps, or attributes of another file."""
    return path.name in _SYSTEM_FILES or holds_attributes(path)


def holds_attributes(path: Path) -> bool:
    """Whether a file holds the attributes of another one, by its name and then by its first bytes."""
    if not (path.name.startswith("._") or path.parent.name in _APPLE_FOLDERS):
        return False
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for who writes
            return False
        with path.open("rb") as file:
            return file.read(len(_APPLE_DOUBLE)) == _APPLE_DOUBLE
    except OSError:
        return False  # whoever converts it says why it cannot be read


@dataclass(slots=True)
class LeftOut:
    """What a plan leaves out, by the reason: call it with each path."""

    paths: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, path: Path, reason: str) -> None:
        self.paths[reason].append(path)

    def lines(self) -> list[str]:
        """For a reader: a line for each reason, with the first of the paths."""
        lines = []
        for reason, paths in sorted(self.paths.items()):
            names = [str(path) for path in sorted(paths)]
            more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
            lines.append(f"{len(names)} left out, {reason}: {', '.join(names[:_NAMED] + more)}")
        return lines

    def to_list(self) -> list[dict[str, str]]:
        """As JSON values."""
        return [
            {"path": as_text(str(path)), "reason": reason}
            for reason, paths in sorted(self.paths.items())
            for path in sorted(paths)
        ]
