"""A codec for many files at once: how many are converted side by side, and how many calls of the codec run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.shared import SharedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import BackendError
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.spec import WindowLength
from apcodec_deploy.transcoding.room import Room

_MOST_JOBS = 64
"""More threads than this that read and write files only get in each other's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A codec that many conversions share, and how many there should be.

    Attributes:
        codec: Its backend is a ``SharedBackend``.
        backend: That backend, whose ``account`` says how busy it was.
        jobs: Conversions at a time: enough to keep the codec busy while some read and write.
        lanes: Calls of the codec at a time.
        bounded: What to tell the user where memory has no room for more of them; else None.
    """

    codec: Codec
    backend: SharedBackend
    jobs: int
    lanes: int
    bounded: str | None = None


def open_pipeline(
    model: Path | None,
    options: BackendOptions,
    *,
    files: int,
    devices: str = "auto",
    jobs: int | None = None,
    batch: int | None = None,
    window: WindowLength = None,
) -> Pipeline:
    """Load a model for a job of many files.

    A backend that computes one row at a time gets a lane for each CPU, as far as there are files and memory, and each
    lane computes with its share of the threads: two products side by side gain more than two threads in one. A backend
    that computes batches gets one lane per device.

    Args:
        model: A bundle; the embedded demo model where None.
        options: The backend; its ``device`` and ``calls`` are set here.
        files: How many there are to convert.
        devices: Several, separated by commas, share the work: ``cuda:0,cuda:1``.
        jobs: Conversions at a time; what keeps the codec busy where None.
        batch: The most windows of a batch; the backend's own limit where None.
        window: Of the job, by which its need of memory goes.

    Raises:
        BundleError: The model cannot be loaded.
        BackendError: A backend does not work here, or the devices are of different kinds.
    """
    bundle = Bundle.find(model)
    cpus = available_cpus()
    room = Room.of(bundle.spec, window)
    wanted = max(1, min(jobs or cpus, files, cpus // options.threads if options.threads else cpus))
    calls = room.calls(wanted)
    threads = options.threads or max(1, cpus // calls)
    options = replace(options, calls=calls, threads=threads)
    backends = [create(bundle, replace(options, device=device)) for device in devices.split(",")]
    kinds = {(each.name, each.precision) for each in backends}
    if len(kinds) > 1:
        named = " and ".join(sorted(f"{name} in {precision}" for name, precision in kinds))
        raise BackendError(f"--device {devices} would mix {named} in one job; name devices of one kind")
    alone = backends[0].batch_limit == 1
    lanes = calls if alone else 1
    shared = SharedBackend(backends, lanes=lanes, batch=batch)
    if jobs is None:
        busy = lanes * len(backends) * shared.batch_limit
        # One file in four is read while the others are computed; a GPU computes while the next batch gathers.
        jobs = min(max(1, files), _MOST_JOBS, busy + max(1, busy // 4) if alone else 2 * busy)
    bounded = room.telling(wanted) if alone and calls < wanted else None
    return Pipeline(
        codec=Codec(bundle, shared), backend=shared, jobs=jobs, lanes=lanes * len(backends), bounded=bounded
    )
