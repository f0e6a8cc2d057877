"""Pack a folder of codes into shards: which file goes where follows from the manifest alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import OutputError
from apcodec_deploy.files import is_partial, partial_path, written_whole
from apcodec_deploy.sharding.formats import ShardFormat
from apcodec_deploy.sharding.sample import Sample, read_samples
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.leftovers import is_system_file
from apcodec_deploy.transcoding.naming import CODES, as_text
from apcodec_deploy.transcoding.record import FileRecord, checksum

INDEX = "index.json"
INDEX_VERSION = 1
_SHARD_NAME = re.compile(r"[0-9]{6,}\.[a-z]+")


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
        OutputError: A file of codes is not what the manifest says, a shard cannot be written, or something else is in
            its place.
        MissingDependencyError: The format's package is not installed.
    """
    # By their bytes, so that the locale plays no part.
    codes = (record for record in history.done.values() if record.to == CODES)
    records = sorted(codes, key=lambda record: os.fsencode(record.output))
    if not records:
        raise OutputError(f"{folder} records no codes; 'apcodec transcode --to apc' makes them")
    groups = [records[start : start + size] for start in range(0, len(records), size)]
    names = [f"{number:06}{form.suffix}" for number in range(len(groups))]
    index = _Index.read(target, form)
    index.announce(names)
    shards: list[Shard] = []
    written = 0
    for name, group in zip(names, groups, strict=True):
        contents = _contents(group, form)
        shard = index.shards.get(name)
        if shard is None or shard.contents != contents or not _stands(target / name, shard):
            shard = index.shards[name] = _write(folder, group, target / name, form, contents)
            written += 1
            # After every shard, so that a run that is killed has to write no shard again but the one under way.
            index.write()
        shards.append(shard)
        progress(len(group))
    index.settle(names)
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
        facts = [as_text(record.output), record.bytes, record.sha256, as_text(record.source), record.model]
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _stands(path: Path, shard: Shard) -> bool:
    try:
        return path.stat().st_size == shard.bytes
    except OSError:
        return False


@dataclass(slots=True)
class _Index:
    """The index of a folder of shards.

    Attributes:
        target: The folder.
        form: The format of its shards.
        shards: Those that stand there, by name.
        announced: Names of shards that a run which has not ended is about to write: the only files that it may replace
            besides those that it has recorded.
    """

    target: Path
    form: ShardFormat
    shards: dict[str, Shard]
    announced: list[str]

    @classmethod
    def read(cls, target: Path, form: ShardFormat) -> _Index:
        """Read it; an empty one where the folder is empty or not there.

        Raises:
            OutputError: The folder holds something else, or an index that is none of this program, or of this format.
        """
        path = target / INDEX
        try:
            if not os.path.lexists(path):
                if target.is_dir() and not all(is_partial(each) or is_system_file(each) for each in target.iterdir()):
                    raise OutputError(f"{target} holds other things than shards; choose another folder")
                return cls(target, form, {}, [])
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format_version"] > INDEX_VERSION:
                raise OutputError(
                    f"{path} has version {values['format_version']}, this program knows {INDEX_VERSION}: update it"
                )
            if values["to"] != form.name:
                raise OutputError(f"{target} holds shards of {values['to']}; choose another folder for {form.name}")
            shards = {shard.name: shard for shard in (Shard(**shard) for shard in values["shards"])}
            announced = list(values.get("announced", ()))
            if strange := [name for name in (*shards, *announced) if not _SHARD_NAME.fullmatch(name)]:
                raise ValueError(f"a shard called {strange[0]!r}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path} cannot be read as what 'apcodec pack' writes ({type(error).__name__}: {error}); choose "
                "another folder"
            ) from error
        return cls(target, form, shards, announced)

    def announce(self, names: Sequence[str]) -> None:
        """Write down which shards are about to be written.

        Raises:
            OutputError: A file is in the place of one that no run has announced.
        """
        new = [name for name in names if name not in self.shards and name not in self.announced]
        for name in new:
            if os.path.lexists(self.target / name):
                raise OutputError(
                    f"{self.target / name} is no shard that {INDEX} knows; move it away, or choose another folder"
                )
        if new or not self.shards:
            self.announced += new
            self.write()

    def settle(self, names: Sequence[str]) -> None:
        """Remove the shards that are no more, and write the index of those that are."""
        for name in (self.shards.keys() | set(self.announced)) - set(names):
            (self.target / name).unlink(missing_ok=True)
        self.shards = {name: self.shards[name] for name in names}
        self.announced = []
        self.write()

    def write(self) -> None:
        """Put it in its place.

        Raises:
            OutputError: It cannot be written.
        """
        shards = [self.shards[name] for name in sorted(self.shards)]
        values = {
            "format_version": INDEX_VERSION,
            "to": self.form.name,
            "files": sum(shard.files for shard in shards),
            "seconds": round(sum(shard.seconds for shard in shards), 6),
            **({"announced": self.announced} if self.announced else {}),
            "shards": [asdict(shard) for shard in shards],
        }
        path = self.target / INDEX
        with written_whole(path, overwrite=True, temporary=partial_path(path)) as partial:
            partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
