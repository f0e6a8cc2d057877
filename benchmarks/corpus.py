"""How much of the codec's own speed a folder gets: transcoding files against coding the same audio in memory.

    python benchmarks/corpus.py [--backend openvino] [--clips 2000] [--long 10] [--mixed 2000] [--rounds 3]

Both take turns, with as many calls of the codec at a time. Prints the share, who waited for whom, and the peak memory
of each kind of folder in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.shared import LaneAccount
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.pipeline import Pipeline, open_pipeline
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.stats import JobStats

RATE = 48_000
SPEECH = Path(__file__).parents[1] / "examples" / "speech_female_48k.wav"


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

    def clip(self, index: int, rate: int) -> NDArray[np.float32]:
        """The audio of a file (N, C) at a rate, each another part of the example and of another length."""
        audio, _ = soundfile.read(SPEECH, dtype="float32", always_2d=True)
        share = (0.618034 * index) % 1.0
        seconds = self.shortest + share * (self.longest - self.shortest)
        rolled = np.resize(np.roll(audio, 997 * index, axis=0), (int(seconds * RATE), 1))
        resampled = rolled if rate == RATE else soxr.resample(rolled, RATE, rate)
        return np.repeat(resampled, self.channels, axis=1)

    def make(self, folder: Path) -> None:
        """Write the files."""
        folder.mkdir()
        for index in range(self.count):
            soundfile.write(folder / f"{index:05}.{self.form}", self.clip(index, self.rate), self.rate)


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
    """Seconds that coding the same audio takes from arrays."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(pipeline.lanes) as pool:
        list(pool.map(lambda clip: pipeline.codec.encode(clip).samples, clips))
    return time.perf_counter() - begun


def compare(options: BackendOptions, material: Material, rounds: int, jobs: int | None) -> None:
    """Both ways in turns."""
    with tempfile.TemporaryDirectory() as name:
        material.make(Path(name) / "in")
        clips = [material.clip(index, RATE)[:, 0] for index in range(material.count)]
        pipeline = open_pipeline(None, options, files=material.count, jobs=jobs)
        with pipeline.codec:
            from_memory(pipeline, clips[:8])
            shares, stats = [], None
            for index in range(rounds):
                memory = from_memory(pipeline, clips)
                stats = from_files(pipeline, Path(name) / "in", Path(name) / f"out{index}")
                shares.append(memory / stats.report.elapsed)
                print(f"  memory {memory:.1f} s, files {stats.report.elapsed:.1f} s: {shares[-1]:.1%}", flush=True)
            assert stats is not None
            backend = pipeline.backend
            print(f"{material}, {backend.name} {backend.precision}:")
            print(f"  {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")
            print("  " + "\n  ".join(stats.lines()), flush=True)


def peak_memory(options: BackendOptions, material: Material) -> None:
    """Of one process that transcodes with two jobs."""
    with tempfile.TemporaryDirectory() as name:
        material.make(Path(name) / "in")
        command = [sys.executable, "-m", "apcodec_deploy.cli.main", "transcode", "in", "out", "--to", "apc"]
        command += ["--jobs", "2", "--backend", options.name]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(command, cwd=name, check=True, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        note = "" if peak > before else " at most"
        print(f"peak memory, --jobs 2, {material}:{note} {peak / 1024:.0f} MB", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--clips", type=int, default=2000, help="clips of one second")
    parser.add_argument("--long", type=int, default=10, help="files of ten minutes")
    parser.add_argument("--mixed", type=int, default=0, help="FLAC clips of 1 to 15 s at 44.1 kHz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="files at a time; else what keeps the codec busy")
    parser.add_argument("--memory", action="store_true", help="peak memory instead, of files of ten minutes and clips")
    given = parser.parse_args()
    options = BackendOptions(name=given.backend)
    if given.memory:
        for count, seconds, channels in ((20, 1.0, 1), (given.clips, 1.0, 1), (1, 600.0, 2), (given.long, 600.0, 2)):
            peak_memory(options, Material(count, seconds, seconds, channels=channels))
        return
    for material in (
        Material(given.clips, 1.0, 1.0),
        Material(given.mixed, 1.0, 15.0, rate=44_100, form="flac"),
        Material(given.long, 600.0, 600.0),
    ):
        if material.count:
            compare(options, material, given.rounds, given.jobs)


if __name__ == "__main__":
    main()
