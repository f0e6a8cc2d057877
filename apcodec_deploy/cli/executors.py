"""Where ``apcodec transcode`` computes: in this process, or on a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apcodec_deploy.backends.base import CPU, BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli.console import say
from apcodec_deploy.cli.conversion import run_tasks, watched
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.precision import AUTO
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.job import JobOptions
from apcodec_deploy.transcoding.manifest import MANIFEST, Manifest
from apcodec_deploy.transcoding.pipeline import open_pipeline
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.report import Report
from apcodec_deploy.transcoding.stats import JobStats

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What ``transcode`` was asked for.

    Attributes:
        model: The bundle; the embedded demo model where None.
        backend: What to run on; ``devices`` names the devices.
        devices: One, or several separated by commas.
        tasks: What to convert.
        options: Into what.
        output: The output folder.
        jobs: Files at a time, per device on a cluster; None for what keeps the codec busy.
        batch: Most windows of a batch.
        patience: Seconds until a file that gives nothing has failed.
        stats: Whether to say where the time went.
    """

    model: Path | None
    backend: BackendOptions
    devices: str
    tasks: Sequence[Task]
    options: ConversionOptions
    output: Path
    jobs: int | None
    batch: int | None
    patience: float
    stats: bool

    @property
    def continued(self) -> BackendOptions:
        """The backend, and where its choice is ours that of the job that is gone on with.

        What a machine got or lost meanwhile must neither mix codes of two precisions in one folder nor end a job. A job
        of another model is not gone on with, and may have had what this model lacks.
        """
        manifest = self.output / MANIFEST
        if self.backend.name != AUTO or self.options.overwrite or not os.path.isfile(manifest):
            return self.backend
        before = History.read(manifest).settings.get(self.options.to)
        if before is None or self.backend.precision not in (AUTO, before.precision):
            return self.backend
        if before.model != Bundle.find(self.model).fingerprint:
            return self.backend
        return replace(self.backend, name=before.backend, precision=before.precision)

    def settings(self, codec: Codec) -> Settings:
        """What all results have in common."""
        form = self.options.form
        return Settings(
            model=codec.fingerprint,
            backend=codec.backend.name,
            precision=codec.backend.precision,
            to=self.options.to,
            subtype=None if form is None else form.subtype,
            window=None if self.options.window is None else str(self.options.window),
            salvage=self.options.salvage,
        )


def run_here(job: Job) -> tuple[Report, dict[str, Any]]:
    """Run a job in this process: its report, and what else there is to say as JSON values."""
    pipeline = open_pipeline(
        job.model,
        job.continued,
        files=len(job.tasks),
        devices=job.devices,
        jobs=job.jobs,
        batch=job.batch,
        window=job.options.window,
    )
    if pipeline.bounded:
        say(pipeline.bounded)
    with pipeline.codec as codec:
        settings = job.settings(codec)
        how = JobOptions(jobs=pipeline.jobs, skip_existing=True, patience=job.patience)
        with Manifest.open(job.output, settings, fresh=job.options.overwrite) as manifest:
            done = run_tasks(codec, job.tasks, job.options, how, manifest=manifest)
    about = _about(settings)
    if job.stats:
        account = JobStats(report=done, jobs=pipeline.jobs, lanes=pipeline.lanes, account=pipeline.backend.account)
        for line in account.lines():
            say(line)
        about["stats"] = account.to_dict()
    return done, about


def run_on_cluster(job: Job, address: str | None) -> tuple[Report, dict[str, Any]]:
    """Run a job on a Ray cluster: its report, and what else there is to say as JSON values.

    Raises:
        MissingDependencyError: Ray is not installed.
        ApcodecError: What the actors would run on is not settled, or the job fails as a whole.
    """
    from apcodec_deploy.transcoding.ray_job import run_on_ray

    if job.stats or job.batch is not None:
        raise ApcodecError("--stats and --batch are for --executor local; 'ray status' tells who is busy on a cluster")
    bundle = Bundle.find(job.model)
    backend = _settled(job)
    with Codec(bundle, create(bundle, backend)) as codec:
        settings = job.settings(codec)
        codec.layout(job.options.window)
        backend = replace(backend, name=codec.backend.name, precision=codec.backend.precision)
    how = JobOptions(jobs=job.jobs or 1, skip_existing=True)
    with (
        Manifest.open(job.output, settings, fresh=job.options.overwrite) as manifest,
        watched(len(job.tasks)) as progress,
        redirect_stdout(sys.stderr),  # Ray tells there of workers that died, among our answer
    ):
        done = run_on_ray(job.model, backend, job.tasks, job.options, how, manifest, address=address, progress=progress)
    return done, _about(settings)


def _settled(job: Job) -> BackendOptions:
    """The backend of every actor: the same whatever its machine has."""
    device = CPU if job.devices == AUTO else job.devices
    if device not in (CPU, "cuda"):
        raise ApcodecError(f"--executor ray takes --device cpu or cuda, not {job.devices}: Ray hands out the devices")
    return replace(job.continued, device=device)


def _about(settings: Settings) -> dict[str, Any]:
    return {"model": settings.model, "backend": settings.backend, "precision": settings.precision}
