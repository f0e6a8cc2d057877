"""The audio that is trained on: which files of a folder can be read, and which are kept for validation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from apcodec_deploy.audio.reader import AUDIO_SUFFIXES, AudioReader
from apcodec_deploy.errors import AudioError, TrainingError

SECONDS_PER_DRAW = 10.0
"""A file is drawn once an epoch for every ten seconds it has begun, so that an hour counts more than a word."""
_LONGEST_HOURS = 1_000
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that can be read.

    Attributes:
        path: The file.
        sample_rate: Its own, Hz.
        samples: At that rate.
    """

    path: Path
    sample_rate: int
    samples: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples / self.sample_rate

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
            validation: Another folder whose first ``clips`` files are the validation's; where None, they are drawn from
                ``folder`` and not trained on. A folder of few files gives no more than a quarter of them.
            clips: How many files validate.
            seed: Of the draw.
            progress: Called with what is being done, and how much of how much is done.

        Raises:
            TrainingError: There is no such folder, or nothing in it to train on.
        """
        found, skipped = _scan(folder, progress)
        if not found:
            reasons = "".join(f"\n  {path}: {reason}" for path, reason in skipped[:5])
            raise TrainingError(
                f"{folder} holds no audio that can be trained on; {', '.join(sorted(AUDIO_SUFFIXES))} are read{reasons}"
            )
        if validation is not None:
            kept, unread = _scan(validation, progress)
            if not kept:
                raise TrainingError(f"{validation} holds no audio to validate with")
            return cls(folder, tuple(found), tuple(kept[:clips]), tuple(skipped + unread))
        order = np.random.default_rng((seed, _VALIDATION)).permutation(len(found))
        chosen = set(order[: min(clips, len(found) // 4)].tolist())
        return cls(
            folder,
            tuple(each for index, each in enumerate(found) if index not in chosen),
            tuple(each for index, each in enumerate(found) if index in chosen),
            tuple(skipped),
        )


_VALIDATION = 1
"""Tells the draw of validation files from other draws of the same seed."""


def _scan(folder: Path, progress: Progress) -> tuple[list[Recording], list[tuple[Path, str]]]:
    """What can be read below a folder and what cannot, in the order of their paths."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is not a directory; one with audio files is expected")
    paths = sorted(
        Path(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith(".")
    )
    found, skipped = [], []
    with ThreadPoolExecutor(8) as pool:
        for done, (path, result) in enumerate(zip(paths, pool.map(_look, paths), strict=True), start=1):
            progress("looking at files", done, len(paths))
            if isinstance(result, Recording):
                found.append(result)
            else:
                skipped.append((path, result))
    return found, skipped


def _look(path: Path) -> Recording | str:
    """What a file is, or why it cannot be used."""
    try:
        with AudioReader(path):
            info = soundfile.info(str(path))
    except (AudioError, soundfile.SoundFileError) as error:
        return str(error)
    if not 0 < info.frames < _LONGEST_HOURS * 3600 * info.samplerate:
        return f"{path} does not say how long it is; convert it to WAV or FLAC" if info.frames else f"{path} is empty"
    return Recording(path, info.samplerate, info.frames)


def write_skipped(material: Material, damaged: Sequence[tuple[Path, str]], target: Path) -> None:
    """Write the files that could not be read, one a line with its reason, or remove the list of an earlier run."""
    lines = [f"{path}\t{reason}\n" for path, reason in (*material.skipped, *damaged)]
    if lines:
        target.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    else:
        target.unlink(missing_ok=True)
