"""Pack a folder of codes into shards: which file goes where follows from the manifest alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import OutputError
from apcodec_deploy.files import is_partial, partial_path, written_whole
from apcodec_deploy.sharding.formats import ShardFormat
from apcodec_deploy.sharding.sample import Sample, read_samples
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.naming import CODES
from apcodec_deploy.transcoding.record import FileRecord, checksum

INDEX = "index.json"
INDEX_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of a training set.

    Attributes:
        name: Of the file.
        files: Clips in it.
        seconds: Of audio.
        bytes: Its size.
        sha256: Of its bytes, in hex.
        contents: A hash of what went into it, by which a shard that is there is known to be up to date.
    """

    name: str
    files: int
    seconds: float
    bytes: int
    sha256: str
    contents: str


@dataclass(frozen=True, slots=True)
class Packed:
    """What packing did.

    Attributes:
        shards: All that are there now.
        written: How many of them were written.
    """

    shards: tuple[Shard, ...]
    written: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"written": self.written, "shards": [asdict(shard) for shard in self.shards]}


def pack(
    folder: Path,
    history: History,
    target: Path,
    form: ShardFormat,
    *,
    size: int,
    progress: Callable[[int], None] = lambda files: None,
) -> Packed:
    """Write the codes of a folder as shards, and an index of them.

    Files are sorted by name; every ``size`` of them make a shard. A shard that the index knows with the same contents
    is left as it is, so a run that was stopped goes on, and one after a few more files writes what they change.

    Args:
        folder: Codes, as ``transcode --to apc`` wrote them.
        history: What its manifest says.
        target: Where the shards go.
        form: Their format.
        size: Files of a shard.
        progress: Told the number of files of each shard that is there.

    Raises:
        OutputError: A file of codes is not what the manifest says, or a shard cannot be written.
        MissingDependencyError: The format's package is not installed.
    """
    records = sorted((each for each in history.done.values() if each.to == CODES), key=lambda each: each.output)
    if not records:
        raise OutputError(f"{folder} records no codes; 'apcodec transcode --to apc' makes them")
    groups = [records[start : start + size] for start in range(0, len(records), size)]
    known = {shard.name: shard for shard in _indexed(target, form)}
    if not known:
        _write_index(target, form, [])  # says that this folder is ours, should this run not end
    shards: list[Shard] = []
    written = 0
    for number, group in enumerate(groups):
        name = f"{number:06}{form.suffix}"
        contents = _contents(group, form)
        before = known.get(name)
        if before is None or before.contents != contents or not _stands(target / name, before):
            before = _write(folder, group, target / name, form, contents)
            written += 1
            # After every shard, so that a run that is killed has to write no shard again but the one under way.
            _write_index(target, form, [*shards, before, *(known[key] for key in sorted(known) if key > name)])
        shards.append(before)
        progress(len(group))
    for name in known.keys() - {shard.name for shard in shards}:
        (target / name).unlink(missing_ok=True)
    _write_index(target, form, shards)
    return Packed(tuple(shards), written)


def _write(folder: Path, group: Sequence[FileRecord], path: Path, form: ShardFormat, contents: str) -> Shard:
    seconds = 0.0

    def counted() -> Iterator[Sample]:
        nonlocal seconds
        for sample in read_samples(folder, group):
            seconds += sample.header.samples / sample.header.sample_rate
            yield sample

    with written_whole(path, overwrite=True, temporary=partial_path(path)) as partial:
        form.write(partial, counted())
        with partial.open("rb") as file:
            digest, length = checksum(file), file.tell()
    return Shard(
        name=path.name, files=len(group), seconds=round(seconds, 6), bytes=length, sha256=digest, contents=contents
    )


def _contents(group: Sequence[FileRecord], form: ShardFormat) -> str:
    digest = hashlib.sha256(form.name.encode())
    for record in group:
        digest.update(json.dumps([record.output, record.bytes, record.sha256, record.source, record.model]).encode())
    return digest.hexdigest()


def _stands(path: Path, shard: Shard) -> bool:
    try:
        return path.stat().st_size == shard.bytes
    except OSError:
        return False


def _indexed(target: Path, form: ShardFormat) -> list[Shard]:
    """The shards that an index names.

    Raises:
        OutputError: The folder holds something else, or an index that cannot be read.
    """
    path = target / INDEX
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] > INDEX_VERSION:
            raise OutputError(f"{path} has version {values['format_version']}, this program knows {INDEX_VERSION}")
        if values["to"] != form.name:
            raise OutputError(f"{target} holds shards of {values['to']}; choose another folder for {form.name}")
        return [Shard(**shard) for shard in values["shards"]]
    except FileNotFoundError:
        if target.is_dir() and any(not is_partial(path) for path in target.iterdir()):
            raise OutputError(f"{target} holds other things than shards; choose another folder") from None
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} cannot be read ({error}); remove it, and the shards beside it are made anew"
        ) from error


def _write_index(target: Path, form: ShardFormat, shards: Sequence[Shard]) -> None:
    values = {
        "format_version": INDEX_VERSION,
        "to": form.name,
        "files": sum(shard.files for shard in shards),
        "seconds": round(sum(shard.seconds for shard in shards), 6),
        "shards": [asdict(shard) for shard in shards],
    }
    path = target / INDEX
    with written_whole(path, overwrite=True, temporary=partial_path(path)) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
