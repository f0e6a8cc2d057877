"""Linux control groups: what a container, a service or a batch system grants a process of CPU time and memory.

A process is in one group of each hierarchy, and every group above that one limits it as well. Containers see their own
group at the mount point, or a path in ``/proc/self/cgroup`` that only the host has; both are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED = 1 << 60
"""Bytes from here on are how the first version writes that memory has no limit."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group.

    Attributes:
        folder: Where its files are.
        unified: Whether it is of the second version, which has one hierarchy for everything.
    """

    folder: Path
    unified: bool

    def cpus(self) -> float | None:
        """CPUs' worth of time that it may use; None where it does not say, or sets no limit."""
        if self.unified:
            quota, period = [*_numbers(self.folder / "cpu.max"), None, None][:2]
        else:
            quota = next(iter(_numbers(self.folder / "cpu.cfs_quota_us")), None)
            period = next(iter(_numbers(self.folder / "cpu.cfs_period_us")), None)
        return quota / period if quota and period and quota > 0 and period > 0 else None

    def free_memory(self) -> int | None:
        """Bytes that are left of its memory; None where it does not say, or sets no limit.

        What it holds of files that were read long ago is given up where it is needed, so that counts as left.
        """
        limit_files = ("memory.max", "memory.high") if self.unified else ("memory.limit_in_bytes",)
        usage_file = "memory.current" if self.unified else "memory.usage_in_bytes"
        limits = [number for name in limit_files for number in _numbers(self.folder / name) if number is not None]
        if not limits or min(limits) >= _UNLIMITED:
            return None
        used = next(iter(_numbers(self.folder / usage_file)), None) or 0
        cached = _field(self.folder / "memory.stat", "inactive_file" if self.unified else "total_inactive_file")
        return max(min(limits) - max(used - cached, 0), 0)


def groups(controller: str, root: Path = Path("/")) -> Iterator[Group]:
    """The group of this process and all above it, in every hierarchy that may limit something.

    Args:
        controller: ``cpu`` or ``memory``.
        root: Of the file system, for tests.
    """
    for unified, place in _memberships(controller, root):
        for top, mounted in _mounts(controller, root, unified=unified):
            inside = _below(place, top)
            for part in (inside, *inside.parents):
                yield Group(mounted / part, unified)


def _memberships(controller: str, root: Path) -> Iterator[tuple[bool, PurePosixPath]]:
    """Whether a hierarchy is the unified one, and this process's group in it."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, colon, place = rest.partition(":")
        if colon and (number == "0" or controller in names.split(",")):
            yield number == "0", PurePosixPath(place)


def _mounts(controller: str, root: Path, *, unified: bool) -> Iterator[tuple[PurePosixPath, Path]]:
    """Where a hierarchy is mounted: which of its groups is at the top there, and the folder."""
    kind = "cgroup2" if unified else "cgroup"
    for line in _lines(root / "proc/self/mountinfo"):
        fields, dash, rest = line.partition(" - ")
        held, about = fields.split(" "), rest.split(" ")
        if not dash or len(held) < 5 or len(about) < 3 or about[0] != kind:
            continue
        if unified or controller in about[2].split(","):
            yield PurePosixPath(_plain(held[3])), root / _plain(held[4]).lstrip("/")


def _below(place: PurePosixPath, top: PurePosixPath) -> PurePosixPath:
    """The way from a mounted group to that of this process: none where this process's is not below it.

    So it is in a container that sees the host's path but has its own group mounted.
    """
    try:
        way = place.relative_to(top)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in way.parts else way


def _plain(text: str) -> str:
    r"""A path of ``mountinfo``, in which a space is written ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _numbers(file: Path) -> list[int | None]:
    """The numbers in a file; None for ``max`` and for what is no number."""
    words = " ".join(_lines(file)).split()
    return [int(word) if re.fullmatch(r"-?\d{1,25}", word, re.ASCII) else None for word in words]


def _field(file: Path, name: str) -> int:
    """The number behind a name in a file of such lines; 0 where there is none."""
    for line in _lines(file):
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0


def _lines(file: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
