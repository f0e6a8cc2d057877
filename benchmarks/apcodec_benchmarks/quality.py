"""A whole measurement of quality: every file through every contender, what comes out against what went in."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.environment import environment
from apcodec_benchmarks.measurements import ContenderRecord, Quality
from apcodec_benchmarks.metrics.catalogue import available, measure, names_of
from apcodec_benchmarks.metrics.waveform import snr
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.workers.process import Worker
from apcodec_deploy.errors import BenchmarkError, ContenderError

RANDOM = "random weights: its quality says nothing about the codec"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPlan:
    """What is to be measured.

    Attributes:
        command: What was asked for, as the results say it.
        entries: The contenders.
        references: The contender, by the name of another, with whose codes that one's are compared: float32 on the CPU.
        settings: How contenders run.
        folder: What file names are relative to.
        files: The files.
        metrics: Names of metrics; all that can be computed here where None.
    """

    command: str
    entries: Sequence[Entry]
    references: Mapping[str, Entry]
    settings: Settings
    folder: Path
    files: Sequence[Path]
    metrics: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A file and what contenders made of it, all at the file's rate.

    Attributes:
        file: Its path below the folder.
        sample_rate: Hz.
        original: (N,), mono.
        decoded: (N,) by contender.
    """

    file: str
    sample_rate: int
    original: NDArray[np.float32]
    decoded: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What one contender made of one file."""

    sample_rate: int
    seconds: float
    bitrate: float
    original: NDArray[np.float32]
    decoded: NDArray[np.float32]
    codes: NDArray[np.int64] | None


def measure_quality(
    plan: QualityPlan,
    *,
    heard: Callable[[Heard], None] = lambda clip: None,
    progress: Progress = lambda what, done, total: None,
) -> Results:
    """Measure everything in a plan. Files and contenders that fail are in the results with their reason.

    Args:
        plan: What to measure.
        heard: Called with each file and what came of it.
        progress: Called with what is being done, and how much of how much is done.

    Raises:
        BenchmarkError: There is nothing to measure, or a metric is unknown.
    """
    names_of(plan.metrics)
    if not plan.files:
        raise BenchmarkError(f"{plan.folder} holds no audio files")
    before = environment()
    records: dict[str, ContenderRecord] = {}
    rows: list[Quality] = []
    total, done = len(plan.files) * len(plan.entries), 0
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apcodec-quality-")))
        workers: dict[str, Worker] = {}
        for entry in plan.entries:
            progress(f"starting {entry.name}", done, total)
            records[entry.name] = _start(entry, plan.settings, workers, stack)
        references = _start_references(plan, workers, stack)
        for path in plan.files:
            name = name_below(path, plan.folder)
            made: dict[str, _Made | ContenderError] = {}
            for entry in plan.entries:
                progress(f"{entry.name}: {name}", done, total)
                done += 1
                if entry.name not in workers:
                    continue
                if entry.name not in made:  # else it has been done as the reference of another one
                    made[entry.name] = _made(workers[entry.name], path, directory)
                found = made[entry.name]
                if isinstance(found, ContenderError):
                    problem = str(found).replace(str(path), path.name)  # results hold no path of this machine
                    rows.append(Quality(contender=entry.name, file=name, seconds=0.0, problem=problem))
                    continue
                reference, against = _reference(entry.name, references, made, path, directory)
                rows.append(_quality(entry.name, name, found, reference, against, plan.metrics))
            coded = {entry.name: made[entry.name] for entry in plan.entries if entry.name in workers}
            good = {key: value for key, value in coded.items() if isinstance(value, _Made)}
            if good:
                first = next(iter(good.values()))
                decoded = {key: value.decoded for key, value in good.items()}
                heard(Heard(file=name, sample_rate=first.sample_rate, original=first.original, decoded=decoded))
    progress("done", total, total)
    return Results(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        command=plan.command,
        environment=before,
        settings={
            "threads": plan.settings.threads,
            "device": plan.settings.device,
            "precision": plan.settings.precision,
            "absent_metrics": {name: reason for name, reason in available().items() if reason is not None},
        },
        contenders=tuple(records.values()),
        quality=tuple(rows),
    )


def _start(entry: Entry, settings: Settings, workers: dict[str, Worker], stack: ExitStack) -> ContenderRecord:
    """Start a contender, and let it go again where its quality would say nothing."""
    try:
        worker = Worker(entry, settings)
    except ContenderError as error:
        return ContenderRecord(name=entry.name, problem=str(error))
    record = ContenderRecord(
        name=entry.name, facts=worker.facts, load_seconds=worker.load_seconds, first_seconds=worker.first_seconds
    )
    if worker.facts is not None and worker.facts.weights == "random":
        worker.close()
        return replace(record, problem=RANDOM)
    workers[entry.name] = stack.enter_context(worker)
    return record


def _start_references(
    plan: QualityPlan, workers: Mapping[str, Worker], stack: ExitStack
) -> dict[str, tuple[str, Worker]]:
    """For each contender the name and the worker whose codes its own are compared with, each started once."""
    settings = replace(plan.settings, device="cpu", precision="float32")
    same = settings == plan.settings
    started: dict[str, Worker] = {}
    found = {}
    for name, entry in plan.references.items():
        if name not in workers or (same and name == entry.name):
            continue
        label = entry.name if same else f"{entry.name} in float32 on the CPU"
        if same and entry.name in workers:
            found[name] = label, workers[entry.name]
            continue
        if label not in started:
            try:
                started[label] = stack.enter_context(Worker(entry, settings))
            except ContenderError:
                continue
        found[name] = label, started[label]
    return found


def _reference(
    name: str,
    references: Mapping[str, tuple[str, Worker]],
    made: dict[str, _Made | ContenderError],
    path: Path,
    directory: Path,
) -> tuple[_Made | None, str | None]:
    """What a contender's reference made of the file, which is done once for all that it is a reference of."""
    if name not in references:
        return None, None
    label, worker = references[name]
    if label not in made:
        made[label] = _made(worker, path, directory)
    found = made[label]
    return (found, label) if isinstance(found, _Made) else (None, None)


def _made(worker: Worker, path: Path, directory: Path) -> _Made | ContenderError:
    """Pass a file through a contender."""
    audio, codes = directory / "audio.npy", directory / "codes.npy"
    try:
        answer: dict[str, Any] = worker.convert(str(path), str(audio), str(codes))
    except ContenderError as error:
        return error
    original, decoded = np.load(audio)
    return _Made(
        sample_rate=answer["sample_rate"],
        seconds=answer["seconds"],
        bitrate=answer["bitrate"],
        original=original,
        decoded=decoded,
        codes=np.load(codes) if answer["codes"] else None,
    )


def _quality(
    contender: str, file: str, made: _Made, reference: _Made | None, against: str | None, metrics: Sequence[str] | None
) -> Quality:
    agreement: tuple[float, ...] = ()
    against_snr = None
    if reference is not None:
        if made.codes is not None and reference.codes is not None and made.codes.shape == reference.codes.shape:
            equal = (made.codes == reference.codes).mean(axis=(0, 2))
            agreement = tuple(round(float(share), 6) for share in equal)
        ratio = snr(reference.decoded, made.decoded, made.sample_rate)
        against_snr = None if ratio is None or math.isnan(ratio) else round(ratio, 3)
    try:
        values = measure(made.original, made.decoded, made.sample_rate, metrics)
    except BenchmarkError as error:
        return Quality(contender=contender, file=file, seconds=made.seconds, problem=str(error))
    return Quality(
        contender=contender,
        file=file,
        seconds=round(made.seconds, 6),
        bitrate=round(made.bitrate, 3),
        metrics={name: round(value, 6) for name, value in values.items()},
        agreement=agreement,
        against=against,
        against_snr=against_snr,
    )


def name_below(path: Path, folder: Path) -> str:
    """A file's name for results: below the folder, and printable."""
    relative = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return relative.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")
