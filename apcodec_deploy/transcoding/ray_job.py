"""The same job on a Ray cluster: paths go to one actor per device, results are written where all machines see them.

Actors make each result beside its place; this process, the only one that writes the manifest, records it and puts it in
its place. So whatever dies, an actor, a machine or this process, a job that is called again ends as if undisturbed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from apcodec_deploy.audio.span import Span
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.errors import ApcodecError, require
from apcodec_deploy.transcoding.conversion import ConversionOptions, Converted
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.job import JobOptions, Progress, committed, settled_before
from apcodec_deploy.transcoding.making import Made, make
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.naming import as_name, as_text
from apcodec_deploy.transcoding.pipeline import open_pipeline
from apcodec_deploy.transcoding.record import FileRecord
from apcodec_deploy.transcoding.report import Outcome, Report, Result

TASK, MADE = "task", "made"
"""The columns of the dataset, before and after: one JSON text a row."""
_FILES_A_BATCH = 4
"""Files that an actor gets per lane at a time: what is done again, unnoticed, when it dies."""


class Transcoder:
    """An actor: one device, converting a batch of files at a time."""

    def __init__(self, model: str | None, backend: dict[str, Any], options: dict[str, Any], jobs: int) -> None:
        """Load the model.

        Args:
            model: The bundle, where this machine sees it too, as ``naming.as_text``; the demo model where None.
            backend: Of ``BackendOptions``.
            options: Of ``ConversionOptions``, its ``form`` as a dict.
            jobs: Files at a time.
        """
        form = options.pop("form")
        self._options = ConversionOptions(form=AudioFormat(**form) if form else None, **options)
        chosen = BackendOptions(**backend)
        self._pipeline = open_pipeline(
            None if model is None else Path(as_name(model)), chosen, files=jobs, devices=chosen.device, jobs=jobs
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Convert what the column ``task`` names; the column ``made`` says what became of each."""
        with ThreadPoolExecutor(self._pipeline.jobs) as pool:
            return {MADE: np.array(list(pool.map(self._make, batch[TASK])), dtype=object)}

    def _make(self, text: str) -> str:
        values = json.loads(text)
        span = None if values["start"] is None else Span(values["start"], values["end"])
        source, target, output = (as_name(values[name]) for name in ("source", "target", "output"))
        made = make(self._pipeline.codec, Task(Path(source), Path(target), span=span), self._options, output)
        return json.dumps(
            {
                "index": values["index"],
                "record": made.record.to_dict(),
                "converted": None if made.converted is None else asdict(made.converted),
            }
        )


def run_on_ray(
    model: Path | None,
    backend: BackendOptions,
    tasks: Sequence[Task],
    options: ConversionOptions,
    how: JobOptions,
    manifest: Manifest,
    *,
    address: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert files on a cluster; see ``job.run``.

    Args:
        model: The bundle; all machines see it at this path, and the files at theirs.
        backend: What actors run on. One on ``cuda`` takes a GPU of the cluster each, any other one a CPU.
        tasks: What to convert.
        options: Into what.
        how: ``jobs`` are files at a time per actor.
        manifest: Of the output folder.
        address: Of the cluster; a local one is started where None.
        progress: Told what happens.

    Raises:
        MissingDependencyError: Ray is not installed.
        ApcodecError: The cluster cannot be reached, or the job fails as a whole.
    """
    ray: Any = require("ray", extra="ray")
    data: Any = require("ray.data", extra="ray")
    progress = progress or Progress()
    begun = time.perf_counter()
    results: list[Result | None] = [_before(task, options, how, manifest) for task in tasks]
    waiting = [index for index, result in enumerate(results) if result is None]
    for result in results:
        if result is not None:
            progress.finished(result)
    if waiting:
        try:
            _connect(ray, address)
            rows = [{TASK: _row(index, tasks[index], manifest)} for index in waiting]
            for made in _made(ray, data, rows, model, backend, options, how.jobs):
                index, value = made
                if results[index] is None:  # else an actor that died had already told of it
                    result = results[index] = _committed(tasks[index], value, options, manifest)
                    progress.heard(result.converted.seconds if result.converted else 0.0)
                    progress.finished(result)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            raise ApcodecError(f"the job on Ray failed: {error}; what was done stays, call it again") from error
        finally:
            ray.shutdown()
    return Report(tuple(result for result in results if result is not None), time.perf_counter() - begun)


def _connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one here, without telling its makers about it, and quietly."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options = {"include_dashboard": False} if address is None else {"address": address}
    before = signal.getsignal(signal.SIGTERM)
    ray.init(**options, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own ends the process with a code and words of its own
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _made(
    ray: Any,
    data: Any,
    rows: list[dict[str, str]],
    model: Path | None,
    backend: BackendOptions,
    options: ConversionOptions,
    jobs: int,
) -> Any:
    """What the actors made, row by row, as it comes: the task's index and ``Made``."""
    gpu = backend.device.startswith("cuda")
    devices = int(ray.cluster_resources().get("GPU" if gpu else "CPU", 0))
    if not devices:
        raise ApcodecError(f"the cluster has no {'GPU' if gpu else 'CPU'}; 'ray status' tells what it has")
    size = _FILES_A_BATCH * jobs
    actors = max(1, min(devices, -(-len(rows) // size)))
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    values = asdict(options)
    dataset = data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
        Transcoder,
        batch_size=size,
        batch_format="numpy",
        compute=data.ActorPoolStrategy(size=actors),
        num_gpus=1 if gpu else None,
        num_cpus=None if gpu else 1,
        fn_constructor_kwargs={
            "model": None if model is None else as_text(os.path.abspath(model)),
            "backend": asdict(replace(backend, threads=backend.threads or 1)),
            "options": {**values, "overwrite": True},
            "jobs": jobs,
        },
    )
    for row in dataset.iter_rows():
        found = json.loads(row[MADE])
        converted = found["converted"]
        if converted is not None:
            gaps = tuple(Gap(**gap) for gap in converted.pop("gaps"))
            converted = Converted(**converted, gaps=gaps)
        yield found["index"], Made(FileRecord.from_dict(found["record"]), converted)


def _before(task: Task, options: ConversionOptions, how: JobOptions, manifest: Manifest) -> Result | None:
    """What became of a file before, or cannot become of it."""
    try:
        if task.problem is not None:
            return Result(task, Outcome.FAILED, reason=task.problem)
        return settled_before(task, options, how, manifest)
    except ApcodecError as error:
        return Result(task, Outcome.FAILED, reason=str(error))


def _committed(task: Task, made: Made, options: ConversionOptions, manifest: Manifest) -> Result:
    # The actor knows the source by its absolute path; the manifest by the one that the user gave.
    made = replace(made, record=replace(made.record, source=str(task.source)))
    try:
        return committed(task, made, options, manifest)
    except ApcodecError as error:
        return Result(task, Outcome.FAILED, reason=str(error))


def _row(index: int, task: Task, manifest: Manifest) -> str:
    """A task as a row: absolute paths as text, because actors have a working directory and a locale of their own."""
    return json.dumps(
        {
            "index": index,
            "source": as_text(os.path.abspath(task.source)),
            "target": as_text(os.path.abspath(task.target)),
            "output": as_text(manifest.name(task.target)),
            "start": task.span.start if task.span else None,
            "end": task.span.end if task.span else None,
        }
    )
