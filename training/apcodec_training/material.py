"""The audio that is trained on: which files of a folder can be read, and which are kept for validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apcodec_benchmarks.quality import name_below
from apcodec_deploy.audio.reader import AUDIO_SUFFIXES, AudioReader, is_audio
from apcodec_deploy.errors import AudioError, TrainingError
from apcodec_deploy.files import written_whole
from apcodec_deploy.transcoding.leftovers import holds_attributes
from apcodec_deploy.transcoding.walk import walk

SECONDS_PER_DRAW = 10.0
"""A file is drawn once an epoch for every ten seconds it has begun, so that an hour counts more than a word."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that can be read.

    Attributes:
        path: The file.
        name: Below the folder it was found in, printable.
        sample_rate: Its own, Hz.
        samples: At that rate.
    """

    path: Path
    name: str
    sample_rate: int
    samples: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples / self.sample_rate

    @property
    def folder(self) -> str:
        """The folder right below the material's that it is in; empty where it is in none."""
        first, slash, _ = self.name.partition("/")
        return first if slash else ""

    @property
    def draws(self) -> int:
        """Segments that are taken of it in an epoch."""
        return max(1, -int(-self.seconds // SECONDS_PER_DRAW))


@dataclass(frozen=True, slots=True)
class Material:
    """What a folder holds.

    Attributes:
        folder: The folder.
        training: Files to train on.
        validation: Files kept apart.
        skipped: Files that cannot be read, and why.
    """

    folder: Path
    training: tuple[Recording, ...]
    validation: tuple[Recording, ...]
    skipped: tuple[tuple[Path, str], ...]

    @classmethod
    def find(
        cls,
        folder: Path,
        *,
        validation: Path | None,
        clips: int,
        seed: int,
        progress: Progress = lambda what, done, total: None,
    ) -> Material:
        """Look through a folder, and choose what is kept for validation.

        Args:
            folder: Of the training files, at any depth.
            validation: Another folder whose first ``clips`` files are the validation's; nothing below it is trained on.
                Where None, they are drawn from ``folder``, which gives no more than a quarter of its files.
            clips: How many files validate.
            seed: Of the draw.
            progress: Called with what is being done, and how much of how much is done.

        Raises:
            TrainingError: There is no such folder, or nothing in it to train on.
        """
        found, skipped = _scan(folder, progress)
        if not found:
            reasons = "".join(f"; {reason}" for _, reason in skipped[:5])
            raise TrainingError(
                f"{folder} holds no audio that can be trained on; {', '.join(sorted(AUDIO_SUFFIXES))} are read{reasons}"
            )
        if validation is not None:
            kept, unread = _scan(validation, progress)
            if not kept:
                raise TrainingError(f"{validation} holds no audio to validate with")
            inside = validation.resolve()
            found = [each for each in found if not each.path.resolve().is_relative_to(inside)]
            if not found:
                raise TrainingError(
                    f"{folder} holds nothing but what is in {validation}, so nothing is left to train on"
                )
            return cls(folder, tuple(found), tuple(kept[:clips]), tuple(dict.fromkeys(skipped + unread)))
        order = np.random.default_rng((seed, _VALIDATION)).permutation(len(found))
        chosen = set(order[: min(clips, len(found) // 4)].tolist())
        return cls(
            folder,
            tuple(each for index, each in enumerate(found) if index not in chosen),
            tuple(each for index, each in enumerate(found) if index in chosen),
            tuple(skipped),
        )

    @property
    def digest(self) -> str:
        """Of the names and lengths of all files that are used: the same for the same material, wherever it lies."""
        sides = [[[each.name, each.samples] for each in side] for side in (self.training, self.validation)]
        return hashlib.sha256(json.dumps(sides).encode()).hexdigest()


_VALIDATION = 1
"""Tells the draw of validation files from other draws of the same seed."""


def _scan(folder: Path, progress: Progress) -> tuple[list[Recording], list[tuple[Path, str]]]:
    """What can be read below a folder and what cannot, in the order of their paths."""
    try:
        if not folder.is_dir():
            raise TrainingError(f"{folder} is not a directory; one with audio files is expected")
    except OSError as error:
        raise TrainingError(f"{folder} cannot be read: {error.strerror or error}") from error
    found, skipped, paths = [], list[tuple[Path, str]](), list[Path]()

    def leave_out(path: Path, reason: str) -> None:
        skipped.append((path, f"{path} {reason}"))

    below = walk(folder, None, is_audio, lambda path, why: leave_out(path, f"is left out: {why}"))
    for path, problem in sorted(below):
        if problem is not None:
            leave_out(path, problem)
        elif not holds_attributes(path):
            paths.append(path)
    with ThreadPoolExecutor(8) as pool:
        looked = pool.map(lambda path: _look(path, folder), paths)
        for done, (path, result) in enumerate(zip(paths, looked, strict=True), start=1):
            progress("looking at files", done, len(paths))
            if isinstance(result, Recording):
                found.append(result)
            else:
                skipped.append((path, result))
    return found, skipped


def _look(path: Path, folder: Path) -> Recording | str:
    """What a file is, or why it cannot be used."""
    try:
        with AudioReader(path) as reader:
            rate, samples = reader.sample_rate, reader.declared_samples
    except AudioError as error:
        return str(error)
    if samples is None:
        return f"{path} does not say how long it is; convert it to WAV or FLAC"
    return Recording(path, name_below(path, folder), rate, samples) if samples else f"{path} holds no samples"


def write_skipped(skipped: Mapping[str, str], target: Path) -> None:
    """Write the files that could not be read, one a line with its reason, or remove the list of an earlier run."""
    if not skipped:
        target.unlink(missing_ok=True)
        return
    with written_whole(target, overwrite=True) as temporary:
        text = "".join(f"{path}\t{reason}\n" for path, reason in skipped.items())
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
