"""Make training data of recordings: speech, music and effects that packages of Debian 12 hold.

    .venv/bin/python scripts/recorded_audio.py FOLDER --packages DIR --jobs 2

Packages are downloaded with 'apt-get download', which needs no rights, into DIR (1.1 GB); those that lie there already
are taken as they are. Which ones: recorded_sources.py. FOLDER gets

    training/KIND/*.flac, validation/KIND/*.flac    mono, 48 kHz, 16 bits, up to 20 s; a voice is on one side only
    sources.json, sources.md                        packages, versions, licences, hours and voices, for a model card
    licences/                                       the copyright texts of the packages

A file is left out where it is silent, clipped, too short or, by its kind, of too little bandwidth. Most speech there is
single words, so the files of a voice are joined one after the other, with what pauses they have (at most half a second
at either end) and faded over 5 ms. A share of the clips is played at 48,000 / 44,100 of its speed instead of being
resampled, so that its band reaches 24 kHz. What a clip is follows from its voice alone: any number of processes makes
the same folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile
from recorded_clips import RATE, Audio, clips, fault, trimmed
from recorded_sources import SOURCES

SUFFIXES = {".wav", ".ogg", ".oga", ".opus", ".flac", ".aif", ".aiff"}


@dataclass(frozen=True, slots=True)
class Voice:
    """All files of a voice, and on which side it is.

    Attributes:
        source: Index in ``SOURCES``.
        name: With the package's, unique.
        side: ``training`` or ``validation``.
        paths: In order.
    """

    source: int
    name: str
    side: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a voice: its clips, their seconds, and how many files were left out, by the reason."""

    voice: Voice
    clips: int
    seconds: float
    left_out: dict[str, int]


def fetched(package: str, packages: Path) -> Path:
    """The package's file, downloaded where it does not lie in ``packages`` yet."""
    found = sorted(packages.glob(f"{package}_*.deb"))
    if not found:
        subprocess.run(["apt-get", "download", "-q", package], cwd=packages, check=True, capture_output=True)
        found = sorted(packages.glob(f"{package}_*.deb"))
    return found[-1]


def version(archive: Path) -> str:
    """Of a package's file."""
    told = subprocess.run(["dpkg-deb", "-f", str(archive), "Version"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def unpacked(archive: Path, target: Path) -> Path:
    """A package's files below ``target``."""
    subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    return target


def voices(source: int, root: Path) -> Iterator[Voice]:
    """The voices of a source in its unpacked package, files in the order of their paths, none twice."""
    what = SOURCES[source]
    if what.archive is not None:
        inside = root / f"{what.kind}.unzipped"
        with zipfile.ZipFile(root / what.archive) as file:
            file.extractall(inside, [name for name in file.namelist() if Path(name).suffix.lower() in SUFFIXES])
        root = inside
    folder = root / what.folder
    by_voice, seen = dict[str, list[Path]](), set[str]()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.is_symlink():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            by_voice.setdefault(what.voice(PurePosixPath(path.relative_to(folder))), []).append(path)
    for name, paths in sorted(by_voice.items()):
        side = "validation" if name in what.validation else "training"
        yield Voice(source, f"{what.package}-{name}".replace(" ", "_"), side, tuple(paths))


def pieces(voice: Voice, left_out: dict[str, int]) -> Iterator[tuple[Audio, int]]:
    """The usable files of a voice, mixed down, at one peak, with their rates; reasons for others are counted."""
    source = SOURCES[voice.source]
    for path in voice.paths:
        try:
            with soundfile.SoundFile(path) as file:
                audio = file.read(int(source.most_seconds * file.samplerate), always_2d=True).mean(axis=1)
                rate = file.samplerate
        except soundfile.SoundFileError:
            left_out["unreadable"] = left_out.get("unreadable", 0) + 1
            continue
        if reason := fault(audio, rate, source.kind):
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        audio = trimmed(audio, rate)
        yield audio / np.abs(audio).max(), rate


def make(voice: Voice, folder: Path, raised: float) -> Made:
    """Write the clips of a voice. Those for validation are not played faster."""
    digest = hashlib.sha256(voice.name.encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    target = folder / voice.side / SOURCES[voice.source].kind
    target.mkdir(parents=True, exist_ok=True)
    left_out: dict[str, int] = {}
    parts = list(pieces(voice, left_out))
    count, seconds = 0, 0.0
    for audio in clips(parts, raised if voice.side == "training" else 0.0, random):
        soundfile.write(target / f"{voice.name}-{count:03d}.flac", audio, RATE, subtype="PCM_16")
        count += 1
        seconds += len(audio) / RATE
    return Made(voice, count, seconds, left_out)


def table(made: Sequence[Made], versions: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each source: what was taken of it, and under which licence."""
    rows = []
    for index, source in enumerate(SOURCES):
        own = [each for each in made if each.voice.source == index]
        row: dict[str, Any] = {
            "package": source.package,
            "version": versions.get(source.package, ""),
            "licence": source.licence,
            "kind": source.kind,
        }
        for side in ("training", "validation"):
            used = [each for each in own if each.voice.side == side and each.clips]
            row[side] = {
                "hours": round(sum(each.seconds for each in used) / 3600, 3),
                "voices": sorted(each.voice.name.removeprefix(f"{source.package}-") for each in used),
            }
        row["left_out"] = {}
        for each in own:
            for reason, count in each.left_out.items():
                row["left_out"][reason] = row["left_out"].get(reason, 0) + count
        rows.append(row)
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for a model card."""
    lines = [
        "| package | version | licence | kind | hours | voices or pieces | hours for validation | files left out |",
        "|---|---|---|---|--:|--:|--:|---|",
    ]
    for row in rows:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(row["left_out"].items()))
        numbers = f"{row['training']['hours']:.2f} | {len(row['training']['voices'])}"
        told = f"{row['package']} | {row['version']} | {row['licence']} | {row['kind'].replace('_', ' ')}"
        lines.append(f"| {told} | {numbers} | {row['validation']['hours']:.2f} | {left} |")
    return "\n".join(lines) + "\n"


def folder_of_recordings(folder: Path, packages: Path, *, raised: float, jobs: int) -> list[dict[str, Any]]:
    """Make the data.

    Args:
        folder: Where it goes.
        packages: Folder of .deb files; those that it lacks are downloaded into it.
        raised: Share of the clips at 44.1 kHz that are played as if they were at 48 kHz.
        jobs: Processes.

    Returns:
        The rows of ``sources.json``.
    """
    for each in (folder / "licences", packages):
        each.mkdir(parents=True, exist_ok=True)
    versions, found, made = dict[str, str](), list[Voice](), list[Made]()
    with tempfile.TemporaryDirectory(dir=folder) as directory, ProcessPoolExecutor(jobs) as pool:
        for package in dict.fromkeys(source.package for source in SOURCES):
            archive = fetched(package, packages.resolve())
            root = unpacked(archive, Path(directory, package))
            versions[package] = version(archive)
            shutil.copyfile(root / "usr/share/doc" / package / "copyright", folder / "licences" / package)
            for index, source in enumerate(SOURCES):
                if source.package == package:
                    found += voices(index, root)
        tasks = [pool.submit(make, voice, folder, raised) for voice in found]
        for done, task in enumerate(as_completed(tasks), start=1):
            made.append(task.result())
            if done % 50 == 0 or done == len(tasks):
                print(f"{done} of {len(tasks)} voices, {sum(each.seconds for each in made) / 3600:.2f} h", flush=True)
    rows = table(made, versions)
    (folder / "sources.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "sources.md").write_text(markdown(rows), encoding="utf-8")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the data goes")
    parser.add_argument("--packages", type=Path, required=True, help="folder of .deb files")
    parser.add_argument("--raised", type=float, default=0.5, help="share of 44.1 kHz clips that are played as 48 kHz")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if any((options.folder / side).exists() for side in ("training", "validation")):
        sys.exit(f"{options.folder} holds data already; name another folder")
    made = folder_of_recordings(options.folder, options.packages, raised=options.raised, jobs=options.jobs)
    print(markdown(made))


if __name__ == "__main__":
    main()
