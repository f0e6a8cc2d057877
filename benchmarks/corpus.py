"""How much of the codec's own speed a folder gets: transcoding files against coding the same audio in memory.

    python benchmarks/corpus.py [--backend openvino] [--clips 2000] [--long 10] [--rounds 3]

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
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


def speech(seconds: float, channels: int = 1) -> NDArray[np.float32]:
    """The example of speech, over and over: (N, C)."""
    audio, _ = soundfile.read(SPEECH, dtype="float32", always_2d=True)
    return np.repeat(np.resize(audio, (int(seconds * RATE), 1)), channels, axis=1)


def make(folder: Path, count: int, seconds: float, channels: int = 1) -> None:
    """A folder of so many files."""
    folder.mkdir()
    audio = speech(seconds, channels)
    for index in range(count):
        soundfile.write(folder / f"{index:05}.wav", np.roll(audio, 997 * index, axis=0), RATE)


def from_files(pipeline: Pipeline, source: Path, out: Path) -> JobStats:
    """Transcode a folder."""
    codec, backend = pipeline.codec, pipeline.backend
    settings = Settings(model=codec.fingerprint, backend=backend.name, precision=backend.precision, to="apc")
    backend.account = LaneAccount()
    with Manifest.open(out, settings, fresh=False) as manifest:
        tasks = plan_folder(source, out, "apc")
        report = run(codec, tasks, ConversionOptions(form=None), JobOptions(jobs=pipeline.jobs), manifest=manifest)
    return JobStats(report=report, jobs=pipeline.jobs, lanes=pipeline.lanes, account=backend.account)


def from_memory(pipeline: Pipeline, count: int, seconds: float) -> float:
    """Seconds that coding the same audio takes from arrays."""
    audio = speech(seconds)[:, 0]
    begun = time.perf_counter()
    with ThreadPoolExecutor(pipeline.lanes) as pool:
        list(pool.map(lambda index: pipeline.codec.encode(np.roll(audio, 997 * index)).samples, range(count)))
    return time.perf_counter() - begun


def compare(options: BackendOptions, count: int, seconds: float, rounds: int, jobs: int | None) -> None:
    """Both ways in turns."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "in", count, seconds)
        pipeline = open_pipeline(None, options, files=count, jobs=jobs)
        with pipeline.codec:
            from_memory(pipeline, min(count, 8), min(seconds, 10))
            shares, stats = [], None
            for index in range(rounds):
                memory = from_memory(pipeline, count, seconds)
                stats = from_files(pipeline, Path(name) / "in", Path(name) / f"out{index}")
                shares.append(memory / stats.report.elapsed)
                print(f"  memory {memory:.1f} s, files {stats.report.elapsed:.1f} s: {shares[-1]:.1%}", flush=True)
            assert stats is not None
            print(f"{count} x {seconds:g} s: {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")
            print("  " + "\n  ".join(stats.lines()), flush=True)


def peak_memory(options: BackendOptions, count: int, seconds: float, channels: int) -> None:
    """Of one process that transcodes with two jobs."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "in", count, seconds, channels)
        command = [sys.executable, "-m", "apcodec_deploy.cli.main", "transcode", "in", "out", "--to", "apc"]
        command += ["--jobs", "2", "--backend", options.name]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(command, cwd=name, check=True, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        note = "" if peak > before else " at most"
        print(
            f"peak memory, --jobs 2, {count} x {seconds:g} s, {channels} channels:{note} {peak / 1024:.0f} MB",
            flush=True,
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--clips", type=int, default=2000, help="clips of one second")
    parser.add_argument("--long", type=int, default=10, help="files of ten minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="files at a time; else what keeps the codec busy")
    parser.add_argument("--memory", action="store_true", help="peak memory instead, of files of ten minutes and clips")
    given = parser.parse_args()
    options = BackendOptions(name=given.backend)
    if given.memory:
        for count, seconds, channels in ((20, 1.0, 1), (given.clips, 1.0, 1), (1, 600.0, 2), (given.long, 600.0, 2)):
            peak_memory(options, count, seconds, channels)
        return
    for count, seconds in ((given.clips, 1.0), (given.long, 600.0)):
        if count:
            compare(options, count, seconds, given.rounds, given.jobs)


if __name__ == "__main__":
    main()
