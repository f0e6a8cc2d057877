"""A folder of speech through a job, and the same audio in memory: how much of the codec's speed a job gets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.audio.resampling import resample
from apcodec_deploy.backends.shared import LaneAccount
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.pipeline import Pipeline
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.stats import JobStats

RATE = 48_000
_SPEECH_SECONDS = 5
_STEP = 997
"""Samples by which the speech is turned from one file to the next."""


@dataclass(frozen=True, slots=True)
class Material:
    """A folder of speech.

    Attributes:
        count: Files.
        shortest: Seconds of the shortest one.
        longest: Of the longest; lengths between them are equally frequent.
        rate: Sampling rate of the files.
        form: Their format: ``wav`` or ``flac``.
        channels: In each.
    """

    count: int
    shortest: float
    longest: float
    rate: int = RATE
    form: str = "wav"
    channels: int = 1

    def __str__(self) -> str:
        length = f"{self.shortest:g}" if self.shortest == self.longest else f"{self.shortest:g} to {self.longest:g}"
        return f"{self.count} x {length} s, {self.rate} Hz, {self.form}, {self.channels} channel(s)"

    def _clip(self, speech: NDArray[np.float32], index: int, rate: int) -> NDArray[np.float32]:
        """The audio of a file (N, C) at a rate, each another part of the speech (N,) and of another length."""
        share = (0.618034 * index) % 1.0
        seconds = self.shortest + share * (self.longest - self.shortest)
        rolled = np.resize(np.roll(speech, _STEP * index), int(seconds * RATE))
        resampled = np.concatenate(list(resample([rolled[None]], RATE, rate)), axis=1)[0]
        return np.repeat(resampled[:, None], self.channels, axis=1)

    def clips(self, rate: int) -> Iterator[NDArray[np.float32]]:
        """The audio of one file after the other (N, C)."""
        speech = reference_signals(RATE, _SPEECH_SECONDS * RATE)["speech"]
        return (self._clip(speech, index, rate) for index in range(self.count))

    def make(self, folder: Path) -> None:
        """Write the files."""
        folder.mkdir()
        for index, clip in enumerate(self.clips(self.rate)):
            soundfile.write(folder / f"{index:05}.{self.form}", clip, self.rate)


def from_files(pipeline: Pipeline, source: Path, out: Path) -> JobStats:
    """Transcode a folder."""
    codec, backend = pipeline.codec, pipeline.backend
    settings = Settings(model=codec.fingerprint, backend=backend.name, precision=backend.precision, to="apc")
    backend.account = LaneAccount()
    with Manifest.open(out, settings, fresh=False) as manifest:
        tasks = plan_folder(source, out, "apc")
        report = run(codec, tasks, ConversionOptions(form=None), JobOptions(jobs=pipeline.jobs), manifest=manifest)
    return JobStats(report=report, jobs=pipeline.jobs, lanes=pipeline.lanes, account=backend.account)


def from_memory(pipeline: Pipeline, clips: Sequence[NDArray[np.float32]]) -> float:
    """Seconds that coding the same audio (N,) takes from arrays."""
    begun = time.perf_counter()
    if pipeline.backend.batch_limit > 1:
        pipeline.codec.encode_batch(clips)
    else:
        with ThreadPoolExecutor(pipeline.lanes) as pool:
            list(pool.map(lambda clip: pipeline.codec.encode(clip).samples, clips))
    return time.perf_counter() - begun
