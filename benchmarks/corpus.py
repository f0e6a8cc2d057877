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
from pathlib import Path

from apcodec_benchmarks.corpus import RATE, Material, from_files, from_memory
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.transcoding.pipeline import open_pipeline


def compare(options: BackendOptions, material: Material, rounds: int, jobs: int | None) -> None:
    """Both ways in turns."""
    with tempfile.TemporaryDirectory() as name:
        material.make(Path(name) / "in")
        clips = [clip[:, 0] for clip in material.clips(RATE)]
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
