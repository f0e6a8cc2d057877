"""The part ``folder``: a folder of files through a job on the card."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.model import path_of
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.corpus import RATE, Material, from_files, from_memory
from apcodec_benchmarks.environment import device_memory
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.transcoding.pipeline import open_pipeline

_WARM_UP = 8


def run(journal: Journal, scale: Scale) -> None:
    """Transcode it, and code the same audio in memory."""
    material = Material(scale.files, scale.file_seconds, scale.file_seconds)
    with tempfile.TemporaryDirectory() as name:
        material.make(Path(name) / "in")
        clips = [clip[:, 0] for clip in material.clips(RATE)]
        for precision in scale.precisions:
            with journal.guarded(f"a folder in {precision}"):
                options = BackendOptions(precision=precision, unproven=True)
                pipeline = open_pipeline(
                    path_of(journal.folder, scale), options, files=material.count, devices=scale.device
                )
                with pipeline.codec:
                    from_memory(pipeline, clips[:_WARM_UP])
                    memory = from_memory(pipeline, clips)
                    stats = from_files(pipeline, Path(name) / "in", Path(name) / f"out-{precision}")
                    done = len(list((Path(name) / f"out-{precision}").glob("*.apc")))
                    journal.check(f"all files in {precision}", done == material.count, f"{done} of {material.count}")
                    seconds = material.count * scale.file_seconds
                    journal.fact(
                        precision,
                        {
                            "material": str(material),
                            "backend": f"{pipeline.backend.name} {pipeline.backend.precision}",
                            "share_of_the_codec": round(memory / stats.report.elapsed, 3),
                            "real_time_from_files": round(seconds / stats.report.elapsed, 1),
                            "real_time_from_memory": round(seconds / memory, 1),
                            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                            "card_memory_bytes": device_memory(os.getpid()),
                            **stats.to_dict(),
                        },
                    )
