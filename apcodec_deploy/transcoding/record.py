"""What a manifest says: of a job, and of each file of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import ManifestError
from apcodec_deploy.files import open_input
from apcodec_deploy.transcoding.naming import as_name, as_text

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all results of one kind in an output folder have in common; a job goes on only with the same.

    Attributes:
        model: The model's whole fingerprint.
        backend: What it ran on.
        precision: What its networks computed in.
        to: The kind of output.
        subtype: How samples are stored, where audio is written.
        window: What the user asked for; None for the model's, or a file's own.
        salvage: Whether damaged codes were decoded as far as they went.
    """

    model: str
    backend: str
    precision: str
    to: str
    subtype: str | None = None
    window: str | None = None
    salvage: bool = False

    def differences(self, other: Settings) -> list[str]:
        """What this job does differently from another, one phrase each."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name} {mine[name]} instead of {theirs[name]}" for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What a source was when it was read.

    Attributes:
        size: Bytes.
        modified: Nanoseconds since 1970.
        sha256: Of its bytes, in hex.
    """

    size: int
    modified: int
    sha256: str

    @classmethod
    def of(cls, path: Path, step: Callable[[], None] = lambda: None) -> SourceState:
        """The state of a file, all of which is read.

        Args:
            path: The file.
            step: Called for every megabyte; may raise to stop.

        Raises:
            AudioError: It cannot be read.
        """
        with open_input(path) as file:
            stat = os.fstat(file.fileno())
            return cls(size=stat.st_size, modified=stat.st_mtime_ns, sha256=checksum(file, step))

    def unchanged(self, path: Path) -> bool:
        """Whether a file is what it was: by size and time, and where those differ by its bytes.

        Raises:
            AudioError: It cannot be read.
        """
        return self.untouched(path) or self.sha256 == SourceState.of(path).sha256

    def untouched(self, path: Path) -> bool:
        """Whether a file has kept its size and time."""
        try:
            stat = path.stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What became of one file. Names are those of this process; a manifest holds them as ``naming.as_text`` does.

    Attributes:
        source: Its path, as the job was given it.
        source_bytes: Its size; like the next two, None where it could not be read.
        source_modified_ns: When it was last changed, in nanoseconds since 1970.
        source_sha256: Hash of its bytes.
        start: Seconds at which the part of it begins that was converted; None for its own start.
        end: Seconds at which that part ends; None for its own end.
        samples: Samples per channel of it at its own rate; like the next two, None where it failed.
        sample_rate: Hz.
        channels: Channels.
        model: The model's fingerprint.
        backend: What it ran on.
        precision: What it was computed in.
        to: The kind of the result.
        output: The result's path below the output folder, with ``/`` between folders.
        bytes: The result's size; like its checksum, None where there is none.
        sha256: Of the result, in hex. Not a CRC: files of codes end their header with one of their own, after which
            any header leaves a CRC of the whole in the same state.
        elapsed: Seconds that it took.
        finished: When, in UTC.
        error: Why it failed.
    """

    source: str
    source_bytes: int | None
    source_modified_ns: int | None
    source_sha256: str | None
    start: float | None
    end: float | None
    samples: int | None
    sample_rate: int | None
    channels: int | None
    model: str
    backend: str
    precision: str
    to: str
    output: str
    bytes: int | None
    sha256: str | None
    elapsed: float
    finished: str
    error: str | None = None

    @property
    def source_state(self) -> SourceState | None:
        """What the source was."""
        if self.source_bytes is None or self.source_modified_ns is None or self.source_sha256 is None:
            return None
        return SourceState(size=self.source_bytes, modified=self.source_modified_ns, sha256=self.source_sha256)

    @property
    def span(self) -> Span | None:
        """The part of the source that was converted."""
        return None if self.start is None else Span(self.start, self.end)

    def describes(self, path: Path) -> bool:
        """Whether a file has the size and the checksum of this result."""
        try:
            with path.open("rb") as file:
                return os.fstat(file.fileno()).st_size == self.bytes and checksum(file) == self.sha256
        except OSError:
            return False

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(replace(self, source=as_text(self.source), output=as_text(self.output)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FileRecord:
        """Read what ``to_dict`` gave.

        Raises:
            ManifestError: Something is missing, unknown or of the wrong type.
            ValueError: No file can have such a name.
        """
        names = {field.name for field in fields(cls)}
        if values.keys() != names:
            raise ManifestError(f"a file's record has {', '.join(sorted(values.keys() ^ names))} too few or too many")
        if not isinstance(values["source"], str) or not isinstance(values["output"], str):
            raise ManifestError("a file's record without source or output")
        return cls(**{**values, "source": as_name(values["source"]), "output": as_name(values["output"])})


def checksum(file: BinaryIO, step: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of what is left of a file, in hex."""
    digest = hashlib.sha256()
    while data := file.read(_CHUNK):
        digest.update(data)
        step()
    return digest.hexdigest()
