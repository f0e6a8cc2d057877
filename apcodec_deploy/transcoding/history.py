"""What a manifest says, read line by line, and whether it is one of ours at all."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import ManifestError
from apcodec_deploy.transcoding.naming import as_name, as_text
from apcodec_deploy.transcoding.record import FileRecord, Settings

FORMAT_VERSION = 1
_LINE = b'{"kind": "'
_FIRST_LINE = b'{"kind": "job", "format": '
"""How every line begins that we write, and how the first one does: what a crash has cut off is known by it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job ran, by which its sources are known again from another working directory.

    Attributes:
        directory: Its working directory, absolute.
        folder: Its output folder, absolute.
    """

    directory: str
    folder: str

    @classmethod
    def here(cls, folder: Path) -> Origin:
        """Of a job that begins now."""
        try:
            directory = os.getcwd()
        except OSError:  # it was removed; paths of this job are absolute
            directory = os.sep
        return cls(directory, os.path.abspath(folder))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Origin | None:
        """Of a job's record; None where an earlier version wrote it, which did not say."""
        if "directory" not in values:
            return None
        return cls(as_name(values["directory"]), as_name(values["folder"]))

    def to_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {"directory": as_text(self.directory), "folder": as_text(self.folder)}

    def path(self, source: str) -> str:
        """The absolute path of a source of this job."""
        return os.path.normpath(os.path.join(self.directory, source))

    def beside(self, source: str) -> str:
        """The path of a source from the output folder: the same after both were moved together."""
        try:
            return os.path.relpath(self.path(source), self.folder)
        except ValueError:  # another drive of Windows
            return self.path(source)


@dataclass(slots=True)
class History:
    """What a manifest says.

    Attributes:
        settings: Of the jobs that count, by the kind of what they make.
        done: Their results, by output.
        failures: The files that failed and were not done since, by output, then by the source's whole path: two may
            claim one output, and jobs from several directories name one source differently.
        former: Outputs that were made before and do not count any more.
        origins: Where the jobs ran that made the results, by output, as far as the manifest says.
        length: Bytes of whole lines.
    """

    settings: dict[str, Settings] = field(default_factory=dict)
    done: dict[str, FileRecord] = field(default_factory=dict)
    failures: dict[str, dict[str, FileRecord]] = field(default_factory=lambda: defaultdict(dict))
    former: set[str] = field(default_factory=set)
    origins: dict[str, Origin] = field(default_factory=dict)
    length: int = 0
    _origin: Origin | None = None

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a manifest; a line that a crash has cut off at its end does not count.

        Raises:
            ManifestError: It cannot be read, is damaged, a later version's, or no manifest of ours.
        """
        history = cls()
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        history._leave_off(f"{path}, line {number}", line)
                        break
                    if line.strip():  # an editor may have left an empty one
                        history._take(f"{path}, line {number}", line)
                    history.length += len(line)
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error
        return history

    @property
    def failed(self) -> dict[str, FileRecord]:
        """The last failure of each source that was not done since, by source."""
        return {record.source: record for record in self.failed_records()}

    def failed_records(self) -> Iterator[FileRecord]:
        """All failures of files that were not done since."""
        for claims in self.failures.values():
            yield from claims.values()

    def same_source(self, record: FileRecord, source: str, here: Origin) -> bool:
        """Whether a result was made of the file that a job knows as ``source``, whatever it holds by now.

        It was if both are one path, seen from wherever either job ran, or one file by links; or if the source lies to
        the output folder as it did, both having moved.
        """
        there = self.origins.get(record.output, here)
        before, now = self.whereabouts(record, here), here.path(source)
        return (
            before == now
            or there.beside(record.source) == here.beside(source)
            or os.path.realpath(before) == os.path.realpath(now)
        )

    def whereabouts(self, record: FileRecord, here: Origin) -> str:
        """The absolute path of the file that a result was made of; of an earlier version's, as seen from ``here``."""
        return self.origins.get(record.output, here).path(record.source)

    def add(self, values: dict[str, Any]) -> None:
        """Take in a line.

        Raises:
            ManifestError: It is none that this version knows.
            KeyError: It lacks something.
            TypeError: Something is of another type.
            ValueError: A value is none, or no file can have such a name.
        """
        values = dict(values)
        kind = values.pop("kind")
        if kind == "job":
            self._add_job(values)
        elif kind == "file":
            self._add_file(FileRecord.from_dict(values))
        else:
            raise ManifestError(f"a line of kind {kind!r}; remove that line to go on")

    def _take(self, where: str, line: bytes) -> None:
        """Take in a whole line.

        Raises:
            ManifestError: See ``read``.
        """
        try:
            values = json.loads(line)
        except ValueError as error:
            if not self.settings:
                raise _foreign(where) from error
            raise ManifestError(f"{where}: {error}; remove that line to go on") from error
        if not self.settings and not _begins_manifest(values):
            raise _foreign(where)
        try:
            self.add(values)
        except ManifestError as error:
            raise ManifestError(f"{where}: {error}") from error
        except KeyError as error:
            raise ManifestError(f"{where}: {error} is missing; remove that line to go on") from error
        except (ValueError, TypeError) as error:
            raise ManifestError(f"{where}: {error}; remove that line to go on") from error

    def _leave_off(self, where: str, rest: bytes) -> None:
        """Pass over what stands behind the last whole line, which the next job cuts off.

        Raises:
            ManifestError: A crash cannot have left it, so it is somebody else's.
        """
        if not self.settings:
            if not rest.startswith(_FIRST_LINE):
                raise _foreign(where)
        elif not (rest.startswith(_LINE) or _LINE.startswith(rest) or not rest.strip(b"\0 \t\r")):
            raise ManifestError(f"{where}: none of ours, and without an end; remove that line to go on")

    def _add_job(self, values: dict[str, Any]) -> None:
        if values["format"] > FORMAT_VERSION:
            raise ManifestError(f"format {values['format']}; this program reads {FORMAT_VERSION}: update it")
        settings = Settings(**values["settings"])
        self.settings[settings.to] = settings
        self._origin = Origin.from_dict(values)
        if values["fresh"]:
            self.former |= {output for output, record in self.done.items() if record.to == settings.to}
            self.done = {output: record for output, record in self.done.items() if record.to != settings.to}
            for claims in self.failures.values():
                for source in [source for source, record in claims.items() if record.to == settings.to]:
                    del claims[source]

    def _add_file(self, record: FileRecord) -> None:
        before = self.done.get(record.output)
        if record.error is None:
            self.failures.pop(record.output, None)
            self.former.discard(record.output)
            self.done[record.output] = record
            self.origins.pop(record.output, None)
            if self._origin is not None:
                self.origins[record.output] = self._origin
        else:
            here = self._origin or _UNKNOWN
            self.failures[record.output][here.path(record.source)] = record
            if before is not None and self.same_source(before, record.source, here):
                self.former.add(record.output)
                del self.done[record.output]


_UNKNOWN = Origin("", "")
"""Of jobs of earlier versions: their paths are compared as they stand."""


def _begins_manifest(values: object) -> bool:
    """Whether the first line of a file is that of a job of ours, of whichever version."""
    return (
        isinstance(values, dict)
        and values.get("kind") == "job"
        and isinstance(values.get("format"), int)
        and isinstance(values.get("version"), str)
        and isinstance(values.get("settings"), dict)
    )


def _foreign(where: str) -> ManifestError:
    return ManifestError(
        f"{where}: 'apcodec transcode' did not write this file, which stays as it is; move it away, or name another "
        "folder"
    )
