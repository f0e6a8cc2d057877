"""Hold an output folder against its manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.bitstream.header import FINGERPRINT_BYTES
from apcodec_deploy.bitstream.reader import open_codes
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError, ManifestError, ModelMismatchError
from apcodec_deploy.files import in_use
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.leftovers import holds_attributes
from apcodec_deploy.transcoding.manifest import MANIFEST
from apcodec_deploy.transcoding.naming import ARRAYS, as_text, is_codes, is_input
from apcodec_deploy.transcoding.record import FileRecord, checksum


@dataclass(slots=True)
class Verification:
    """What was found in an output folder.

    Attributes:
        checked: Results that the manifest says were done.
        problems: Those that are not what it says, by output, with the reason.
        failed: Sources that could not be converted, with the reason.
        unknown: Files that could be results and that no job recorded.
    """

    checked: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "checked": self.checked,
            "problems": {as_text(output): problem for output, problem in self.problems.items()},
            "failed": {as_text(source): reason for source, reason in self.failed.items()},
            "unknown": [as_text(name) for name in self.unknown],
        }


def history_of(folder: Path) -> History:
    """What the manifest of an output folder says.

    Raises:
        ManifestError: There is none, it is damaged or not ours, or a job is at work there.
    """
    path = folder / MANIFEST
    try:
        if not path.is_file():
            found = "is no regular file" if os.path.lexists(path) else "does not exist"
            raise ManifestError(f"{path} {found}; 'apcodec transcode' writes one into its output folder")
        if in_use(path):
            raise ManifestError(f"a job writes to {folder}; wait for it")
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error
    history = History.read(path)
    if not history.settings:
        raise ManifestError(f"{path} is empty; 'apcodec transcode' writes one into its output folder")
    return history


def verify(
    folder: Path,
    history: History,
    *,
    codec: Codec | None = None,
    jobs: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> Verification:
    """Check every result: that it is there, its size, its checksum, and for codes whose they are.

    Args:
        folder: The output folder.
        history: What its manifest says.
        codec: Decodes every file of codes; audio is read to its end. Without it, bytes are checked only.
        jobs: Files at a time.
        progress: Told of each file that was checked.

    Raises:
        ModelMismatchError: The codec is not the model that the codes were made with.
    """
    for record in history.done.values():
        if codec is not None and record.model != codec.fingerprint:
            raise ModelMismatchError(
                f"{record.output} was made by model {record.model[:16]}, this is {codec.fingerprint[:16]} "
                f"({codec.bundle.name}); name the bundle that made it with --model"
            )
    twins: dict[tuple[int | None, str | None], list[str]] = defaultdict(list)
    for record in history.done.values():
        twins[record.bytes, record.sha256].append(record.output)

    def check(record: FileRecord) -> tuple[str, str | None]:
        problem = _problem(folder / record.output, record, twins)
        if problem is None and codec is not None:
            problem = _decoding_problem(codec, folder / record.output, record)
        progress()
        return record.output, problem

    found = Verification(checked=len(history.done))
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
        for output, problem in pool.map(check, history.done.values()):
            if problem is not None:
                found.problems[output] = problem
    found.failed = {_named(record): str(record.error) for record in history.failed_records()}
    found.unknown = sorted(set(_results(folder)) - history.done.keys() - history.former)
    return found


def _named(record: FileRecord) -> str:
    """A source, and the part of it where it is one."""
    return record.source if record.span is None else f"{record.source} {record.span}"


def _problem(path: Path, record: FileRecord, twins: dict[tuple[int | None, str | None], list[str]]) -> str | None:
    """What is wrong with a result's bytes."""
    try:
        if path.is_symlink() or not path.is_file():
            return "is missing" if not os.path.lexists(path) else "is no regular file"
        if record.describes(path):
            return None
        size = path.stat().st_size
        others = _described_by(path, size, twins)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if others:
        return f"holds what {' or '.join(others)} should hold"
    if foreign := _foreign(path, record):
        return foreign
    if size != record.bytes:
        return f"has {size} bytes instead of {record.bytes}: it was cut, or written over"
    return f"has other bytes than were written: its SHA-256 is not {record.sha256}"


def _described_by(path: Path, size: int, twins: dict[tuple[int | None, str | None], list[str]]) -> list[str]:
    """The other results that have this size and checksum."""
    if not any(size == known for known, _ in twins):
        return []
    with path.open("rb") as file:
        return twins.get((size, checksum(file)), [])


def _foreign(path: Path, record: FileRecord) -> str | None:
    """Whether codes are of another model than the record says."""
    if not is_codes(path):
        return None
    try:
        with open_codes(path) as reader:
            found, expected = reader.header.fingerprint, record.model[: 2 * FINGERPRINT_BYTES]
            return None if found == expected else f"was made by model {found}, the manifest says {expected}"
    except ApcodecError:
        return None


def _decoding_problem(codec: Codec, path: Path, record: FileRecord) -> str | None:
    """What is wrong with what a result decodes to."""
    if record.to == ARRAYS:
        return _array_problem(codec, path, record)
    try:
        samples = 0
        if is_codes(path):
            with open_codes(path) as reader:
                header = reader.header
                form = (header.sample_rate, header.channels)
                for block in codec.decode_stream(reader.chunks(), header, reader.gaps):
                    samples += block.shape[1]
        else:
            with open_audio(path) as audio:
                form = (audio.sample_rate, audio.channels)
                for block in audio.blocks():
                    samples += block.shape[1]
    except ApcodecError as error:
        return str(error)
    if (samples, *form) != (record.samples, record.sample_rate, record.channels):
        return (
            f"decodes to {samples} samples at {form[0]} Hz on {form[1]} channels; "
            f"its source had {record.samples} at {record.sample_rate} on {record.channels}"
        )
    return None


def _array_problem(codec: Codec, path: Path, record: FileRecord) -> str | None:
    """What is wrong with an array of codes."""
    try:
        codes = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        return f"is no array that can be read: {error}"
    if codes.dtype != np.uint16 or codes.ndim != 3 or codes.shape[:2] != (record.channels, codec.num_codebooks):
        return (
            f"holds {codes.dtype} {list(codes.shape)}; uint16 ({record.channels}, {codec.num_codebooks}, …) is expected"
        )
    if codes.max() >= codec.codebook_size:
        return f"holds the code {codes.max()}; this model has 0 to {codec.codebook_size - 1}"
    return None


def _results(folder: Path) -> Iterator[str]:
    """Files that could be results, named as records name them."""
    for here, _, names in os.walk(folder):
        for path in map(partial(Path, here), names):
            if is_input(path) and not holds_attributes(path):
                yield path.relative_to(folder).as_posix()
