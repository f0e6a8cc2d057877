"""The manifest of an output folder: what was made of what, one JSON line each, only ever appended to.

    {"kind": "job", "settings": {"to": ...}, "fresh": true}   a job began; with `fresh`, what earlier ones made of its
                                                              kind does not count any more
    {"kind": "file", "source": ..., "output": ..., ...}       a file was done, or failed

A file of that name that does not begin with such a job is somebody else's and is left as it is. Names stand there as
`naming.as_text` writes them, so a job may be gone on with under another locale, and `Origin` says where a job ran, so
from another working directory.

A result is first written whole beside its place, then recorded, then renamed into place. Killed at any moment, a job
finds either no record and does the file again, or a record and the file in one of the two places. Of several records
of one output the last one holds. Who runs a job holds a lock on the manifest.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import OutputError
from apcodec_deploy.files import locked, make_folder, partial_path
from apcodec_deploy.transcoding.history import FORMAT_VERSION, History, Origin
from apcodec_deploy.transcoding.record import FileRecord, Settings
from apcodec_deploy.version import __version__

MANIFEST = "manifest.jsonl"


class Manifest:
    """The manifest of a job that runs. Safe to use from several threads."""

    def __init__(self, folder: Path, descriptor: int, history: History) -> None:
        self.folder = folder
        self._descriptor, self._history = descriptor, history
        self._origin = Origin.here(folder)
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, settings: Settings, *, fresh: bool) -> Iterator[Manifest]:
        """Begin a job in an output folder, or go on with the one of its kind that is there.

        Args:
            folder: Made if it does not exist.
            settings: What all outputs have in common.
            fresh: Make everything anew, whatever was done before.

        Raises:
            OutputError: It cannot be written, another run is at work there, or it holds results of other settings.
            ManifestError: The manifest is damaged, or a file of that name is none.
        """
        path = folder / MANIFEST
        if os.path.islink(folder) and not os.path.exists(folder):
            raise OutputError(
                f"{folder} is a link to nothing ({os.readlink(folder)}); make that folder, or remove the link"
            )
        try:
            make_folder(folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            reason = "it is a link; remove it" if os.path.islink(path) else error.strerror or error
            raise OutputError(f"{path} cannot be written: {reason}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OutputError(f"{path} is no regular file; move it away, or choose another output folder")
            if not locked(descriptor):
                raise OutputError(f"another job writes to {folder}; wait for it, or choose another folder")
            history = History.read(path)
            os.ftruncate(descriptor, history.length)
            manifest = cls(folder, descriptor, history)
            manifest._begin(settings, fresh=fresh)
            yield manifest
            os.fsync(descriptor)
            if not _is_at(path, descriptor):
                raise OutputError(
                    f"{path} was removed while the job ran, so its results are not recorded; run it with --overwrite"
                )
        finally:
            os.close(descriptor)

    def done(self, output: Path, source: Path, span: Span | None = None) -> FileRecord | None:
        """The record of a result that stands, made of that part of the source as it is now; else None.

        A result that was recorded but not yet in its place when a run was killed is put there.

        Raises:
            AudioError: The source cannot be read.
            OutputError: The result was made of another source.
        """
        record = self._history.done.get(self.name(output))
        if record is None:
            return None
        state = record.source_state
        if state is None or record.span != span or not state.unchanged(source):
            if self._history.same_source(record, str(source), self._origin) or not self._stands(output, record):
                return None
            made_of = self._history.whereabouts(record, self._origin)
            raise OutputError(
                f"{output} was made of {made_of}, and {source} is another file; choose another output folder, or "
                "remove that result to make it anew"
            )
        try:
            size = output.lstat().st_size
        except OSError:
            partial = partial_path(output)
            if not record.describes(partial):
                return None
            partial.replace(output)
            return record
        partial_path(output).unlink(missing_ok=True)  # of a run that was killed after this had taken its place
        return record if size == record.bytes else None

    def _stands(self, output: Path, record: FileRecord) -> bool:
        """Whether anything of a result is there that could be lost."""
        return os.path.lexists(output) or record.describes(partial_path(output))

    def owns(self, output: Path) -> bool:
        """Whether a result at this place would be this job's, or an earlier one's here, and may be replaced."""
        name = self.name(output)
        return name in self._history.former or name in self._history.done

    def append(self, record: FileRecord) -> None:
        """Record a file.

        Raises:
            OutputError: It cannot be written; the manifest is as it was.
        """
        self._append({"kind": "file", **record.to_dict()})

    def _begin(self, settings: Settings, *, fresh: bool) -> None:
        before = self._history.settings.get(settings.to)
        if before is not None and not fresh and (differences := settings.differences(before)):
            raise OutputError(
                f"{self.folder} holds a job with other settings; this one has {', '.join(differences)}: choose another "
                "folder, the same settings, or --overwrite to make everything anew"
            )
        job = {
            "kind": "job",
            "format": FORMAT_VERSION,
            "version": __version__,
            "started": now(),
            "fresh": fresh or before is None,
            "settings": asdict(settings),
            **self._origin.to_dict(),
        }
        self._append(job)
        self._history.add(job)

    def _append(self, values: dict[str, Any]) -> None:
        line = json.dumps(values).encode() + b"\n"
        with self._lock:
            length = os.fstat(self._descriptor).st_size
            try:
                written = os.write(self._descriptor, line)
                if written < len(line):
                    raise OSError(f"{written} of {len(line)} bytes were written; is the disk full?")
            except OSError as error:
                os.ftruncate(self._descriptor, length)
                raise OutputError(f"{self.folder / MANIFEST} cannot be written: {error.strerror or error}") from error

    def name(self, output: Path) -> str:
        """How a record names a result."""
        return output.relative_to(self.folder).as_posix()


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
