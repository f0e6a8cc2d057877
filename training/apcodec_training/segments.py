"""Segments of audio, each a function of the seed and its number alone.

So batches do not depend on how many processes read files, and a run that is resumed at a step reads on as if it had
never stopped.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.resampling import exactly, resample
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError
from apcodec_training.config import DataConfig
from apcodec_training.drawing import Draw
from apcodec_training.interrupts import SIGNALS
from apcodec_training.material import Recording

_SEGMENT = 3
"""Tells the draws within segments from other draws of the same seed."""
_MARGIN_SECONDS = 0.02
"""Read on both sides of a segment that is resampled, so that the filter has settled within it."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments to train on.

    Attributes:
        audio: (B, N) float32, full scale at 1.
        sources: Where each is from: ``path @ seconds``. None where too many files in turn could not be read.
        damaged: Files that turned out to be damaged, and how; other segments took the place of theirs.
    """

    audio: Tensor
    sources: tuple[str, ...]
    damaged: tuple[tuple[str, str], ...]

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from; called by the loader."""
        return Batch(self.audio.pin_memory(), self.sources, self.damaged)


@dataclass(frozen=True, slots=True)
class Segment:
    """One of them, or None for the audio where too many files could not be read.

    It says so instead of raising, since an error of a reading process arrives with the text of its traceback.
    """

    audio: Tensor | None
    source: str
    damaged: tuple[tuple[str, str], ...]


class Segments(Dataset[Segment]):
    """All segments of a run, by number."""

    def __init__(self, recordings: Sequence[Recording], config: DataConfig, sample_rate: int, seed: int) -> None:
        self.recordings, self.config, self.sample_rate, self.seed = recordings, config, sample_rate, seed
        self._draw = Draw(recordings, config.shares, seed)

    @property
    def per_epoch(self) -> int:
        """Segments of an epoch."""
        return self._draw.per_epoch

    def __getitem__(self, number: int) -> Segment:
        recording = self.recordings[self._draw[number]]
        random = np.random.default_rng((self.seed, _SEGMENT, number))
        damaged: list[tuple[str, str]] = []
        for _ in range(_TRIES):
            length = self.config.segment_samples / self.sample_rate
            start = random.uniform(0, max(0.0, recording.seconds - length))
            try:
                audio = read_segment(recording, start, self.config.segment_samples, self.sample_rate)
            except AudioError as error:
                damaged.append((str(recording.path), str(error)))
                recording = self.recordings[int(random.integers(len(self.recordings)))]
                continue
            source = f"{recording.path} @ {start:.3f} s"
            audio = levelled(audio, random.uniform(*self.config.gain_db))
            if random.random() < self.config.band_limited:
                lowest = min(self.config.lowest_rate, self.sample_rate)
                audio = band_limited(audio, self.sample_rate, int(random.integers(lowest, self.sample_rate + 1)))
            return Segment(torch.from_numpy(audio), source, tuple(damaged))
        return Segment(None, "", tuple(damaged))


def read_segment(recording: Recording, start: float, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Samples (N,) from ``start`` seconds on, mixed down and at a rate; a file that ends before is filled with zeros.

    Raises:
        AudioError: The file cannot be read there.
    """
    rate = recording.sample_rate
    first = min(round(start * rate), recording.samples - 1)
    lead = min(first, round(_MARGIN_SECONDS * rate)) if rate != sample_rate else 0
    last = first + -(-samples * rate // sample_rate) + (round(_MARGIN_SECONDS * rate) if rate != sample_rate else 0)
    span = Span((first - lead) / rate, min(last, recording.samples) / rate)
    with AudioReader(recording.path) as reader:
        mono = (block.mean(axis=0, keepdims=True) for block in reader.blocks(span))
        audio = np.concatenate([*resample(mono, rate, sample_rate)], axis=1)
    skipped = round(lead * sample_rate / rate)
    return np.asarray(np.concatenate([*exactly([audio[:, skipped:]], samples)], axis=1)[0], np.float32)


def levelled(audio: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """Audio with its level changed, but not driven past full scale by that."""
    peak = float(np.abs(audio).max(initial=0.0))
    gain = 10 ** (gain_db / 20)
    if gain > 1 and peak > 0:
        gain = max(1.0, min(gain, 1 / peak))
    return np.asarray(audio * np.float32(gain), np.float32)


def band_limited(audio: NDArray[np.float32], sample_rate: int, by: int) -> NDArray[np.float32]:
    """Audio (N,) as it comes back from a lower sample rate ``by``, mirrored at its ends so that these do not click."""
    edge = min(len(audio) - 1, int(_MARGIN_SECONDS * sample_rate))
    mirrored = np.pad(audio, edge, "reflect")[None]
    there = np.concatenate([*resample([mirrored], sample_rate, by)], axis=1)
    back = np.concatenate([*exactly(resample([there], by, sample_rate), mirrored.shape[1])], axis=1)
    return np.asarray(back[0, edge : edge + len(audio)], np.float32)


@dataclass(frozen=True, slots=True)
class _Steps:
    """The numbers of the segments of every step from ``first`` on, for one of several processes."""

    first: int
    steps: int
    batch_size: int
    rank: int
    share: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.steps):
            begin = step * self.batch_size + self.rank * self.share
            yield list(range(begin, begin + self.share))

    def __len__(self) -> int:
        return max(0, self.steps - self.first)


def batches(
    segments: Segments, *, first: int, steps: int, rank: int = 0, world: int = 1, pinned: bool = False
) -> DataLoader[Batch]:
    """The batches of the steps from ``first`` to ``steps``, or the share of them of one of ``world`` processes."""
    config = segments.config
    return _Loader(
        segments,  # type: ignore[arg-type]  # a loader's type is that of its items
        batch_sampler=_Steps(first, steps, config.batch_size, rank, config.batch_size // world),
        num_workers=config.workers,
        collate_fn=_collate,
        pin_memory=pinned,
        # Not 'fork', which breaks with threads; Windows has 'spawn' alone.
        multiprocessing_context=_START_METHOD if config.workers else None,
        worker_init_fn=_ignore_signals,
    )


class _Loader(DataLoader[Batch]):
    def check_worker_number_rationality(self) -> None:
        """No warning: how many read is the user's choice, and more of them than CPUs do no harm."""


_START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _ignore_signals(worker: int) -> None:
    """Let the training process say when it ends: Ctrl-C reaches the processes that read for it as well."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _collate(segments: Sequence[Segment]) -> Batch:
    audio = [each.audio for each in segments if each.audio is not None]
    damaged = tuple(one for each in segments for one in each.damaged)
    if len(audio) < len(segments):
        return Batch(torch.empty(0), (), damaged)
    return Batch(torch.stack(audio), tuple(each.source for each in segments), damaged)
