"""From what a user asks for to results: what the commands call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry, entries_named, with_checkout
from apcodec_benchmarks.metrics.catalogue import names_of
from apcodec_benchmarks.models import model_of, other_models, plain_export
from apcodec_benchmarks.modes import Clips, modes_named
from apcodec_benchmarks.quality import Heard, QualityPlan, measure_quality, name_below
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.speed import Plan, Progress, measure_speed
from apcodec_benchmarks.timing import FULL, QUICK, TABLE
from apcodec_benchmarks.windows import WHOLE, joined, window_entries
from apcodec_deploy.audio.reader import AUDIO_SUFFIXES, AudioReader, is_audio
from apcodec_deploy.bundle import DEMO, Bundle
from apcodec_deploy.errors import AudioError, BenchmarkError
from apcodec_deploy.transcoding.leftovers import holds_attributes
from apcodec_deploy.transcoding.walk import walk

_QUICK_SECONDS = 2.5
"""Within one window of the published model: one just beyond it would cost two."""
QUICK_MODES = ("cpuN", "window", "engine")
"""What a quick run keeps of the usual modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRequest:
    """What ``apcodec bench rtf`` is told; see its options."""

    threads: int
    modes: Sequence[str] | None = None
    codecs: Sequence[str] | None = None
    model: str | None = None
    checkpoint: Path | None = None
    seconds: float = 10.0
    device: str = "cpu"
    precision: str = "float32"
    audio: Path | None = None
    audiodec: Path | None = None
    trained: bool = False
    beside: Sequence[str] = ()
    quick: bool = False
    brief: bool = False

    @property
    def command(self) -> str:
        """What was asked for, in words that hold no path."""
        words = ["apcodec bench rtf", *(f"--mode {mode}" for mode in self.modes or ())]
        words += [f"--codecs {','.join(self.codecs)}"] if self.codecs else []
        words += [f"--model {Path(self.model).name}"] if self.model else []
        words += [f"--beside {Path(other).name}" for other in self.beside]
        words += [f"--seconds {self.seconds:g} --threads {self.threads}"]
        words += [f"--device {self.device} --precision {self.precision}"] if self.device != "cpu" else []
        return " ".join([*words, *(f"--{word}" for word in ("quick", "brief") if getattr(self, word))])


def run_speed(request: SpeedRequest, progress: Progress = lambda what, done, total: None) -> Results:
    """Measure speed.

    Raises:
        BenchmarkError: A mode or a contender is unknown, or there is nothing to measure.
        ApcodecError: The model cannot be had.
    """
    modes = modes_named(request.modes, request.device)
    if request.quick and not request.modes:
        modes = [mode for mode in modes if mode.name in QUICK_MODES]
    entries = with_checkout(entries_named(request.codecs), request.audiodec)
    others = other_models(request.beside, request.codecs)
    files, skipped = ([], []) if request.audio is None else utterances(request.audio)
    clips = Clips(
        seconds=min(request.seconds, _QUICK_SECONDS) if request.quick else request.seconds,
        files=files,
        quick=request.quick,
        device=request.device,
    )
    schedule = QUICK if request.quick else FULL if request.modes and not request.brief else TABLE

    def making(step: str) -> None:
        progress(step, 0, 0)

    with model_of(request.model, request.checkpoint, reduced=request.precision != "float32", progress=making) as model:
        settings = Settings(
            threads=request.threads,
            device=request.device,
            precision=request.precision,
            model=model.bundle,
            checkpoint=model.checkpoint,
            trained=request.trained,
        )
        with plain_export(entries, settings, progress=making) as ready:
            plan = Plan(
                command=request.command,
                entries=[*ready, *others],
                settings=settings,
                modes=modes,
                threads=request.threads,
                clips=clips,
                schedule=schedule,
            )
            results = _without_paths(measure_speed(plan, progress), request.audio)
        return replace(results, settings={**results.settings, "skipped_files": skipped})


def _without_paths(results: Results, folder: Path | None) -> Results:
    """Results whose files are named below their folder: where it is on this machine is nobody's business."""
    if folder is None:
        return results
    files = {each.case.file for each in results.timings if each.case.file is not None}
    names = {file: name_below(Path(file), folder.resolve()) for file in files}
    timings = (replace(each, case=replace(each.case, file=names.get(each.case.file or ""))) for each in results.timings)
    return replace(results, timings=tuple(timings))


def utterances(folder: Path) -> tuple[list[tuple[str, float]], list[str]]:
    """The audio files below a folder, each with its seconds, and why others are none.

    Raises:
        BenchmarkError: There are none that can be read.
    """
    found, refused = [], []
    for path in audio_files(folder):
        try:
            with AudioReader(path) as reader:
                samples = sum(block.shape[1] for block in reader.blocks())
                found.append((str(path.resolve()), samples / reader.sample_rate))
        except AudioError as error:
            refused.append(str(error).replace(str(path), path.name))  # results hold no path of this machine
    if not found:
        raise BenchmarkError("; ".join(refused))
    return found, refused


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRequest:
    """What ``apcodec bench quality`` is told; see its options."""

    folder: Path
    threads: int
    codecs: Sequence[str] | None = None
    model: str | None = None
    checkpoint: Path | None = None
    device: str = "cpu"
    precision: str = "float32"
    audiodec: Path | None = None
    trained: bool = False
    metrics: Sequence[str] | None = None
    beside: Sequence[str] = ()

    @property
    def command(self) -> str:
        """What was asked for, in words that hold no path."""
        words = [f"apcodec bench quality {self.folder.resolve().name}"]
        words += [f"--codecs {','.join(self.codecs)}"] if self.codecs else []
        words += [f"--model {Path(self.model).name}"] if self.model else []
        words += [f"--beside {Path(other).name}" for other in self.beside]
        words += [f"--device {self.device} --precision {self.precision}"] if self.device != "cpu" else []
        return " ".join(words)


def run_quality(
    request: QualityRequest,
    *,
    heard: Callable[[Heard], None] = lambda clip: None,
    progress: Progress = lambda what, done, total: None,
) -> Results:
    """Measure quality, of APCodec in any backend and precision also against float32 on the CPU.

    Raises:
        BenchmarkError: A contender or a metric is unknown, or there are no files.
        ApcodecError: The model cannot be had.
    """
    names_of(request.metrics)
    entries = with_checkout(entries_named(request.codecs), request.audiodec)
    others = other_models(request.beside, request.codecs)
    files = audio_files(request.folder)
    model = DEMO if request.model is None and request.checkpoint is None else request.model

    def making(step: str) -> None:
        progress(step, 0, 0)

    # What is judged by its quality has to be proven.
    with model_of(model, request.checkpoint, reduced=True, progress=making) as made:
        settings = Settings(
            threads=request.threads,
            device=request.device,
            precision=request.precision,
            model=made.bundle,
            checkpoint=made.checkpoint,
            trained=request.trained,
        )
        with plain_export(entries, settings, progress=making) as ready:
            plan = QualityPlan(
                command=request.command,
                entries=[*ready, *others],
                references={entry.name: _float32_of(entry) for entry in entries if entry.name.startswith("apcodec")},
                settings=settings,
                folder=request.folder,
                files=files,
                metrics=request.metrics,
            )
            return measure_quality(plan, heard=heard, progress=progress)


def _float32_of(entry: Entry) -> Entry:
    """What an APCodec's codes are compared with: ONNX Runtime with the same windows. PyTorch takes clips whole."""
    whole = entry.options.get("window") == WHOLE or entry.factory.endswith(":pytorch")
    (found,) = entries_named(["apcodec-whole" if whole else "apcodec"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsRequest:
    """What ``apcodec bench windows`` is told; see its options."""

    folder: Path
    threads: int
    model: str | None = None
    seconds: float = 60.0
    quick: bool = False


def run_windows(request: WindowsRequest, progress: Progress = lambda what, done, total: None) -> Results:
    """Sweep the window length: quality and agreement with the whole clip, and speed, on all clips joined.

    Raises:
        BenchmarkError: There are no files.
        ApcodecError: The model cannot be had, or a file cannot be read.
    """
    model = DEMO if request.model is None else request.model
    entries = window_entries()
    with model_of(model, None) as made, tempfile.TemporaryDirectory(prefix="apcodec-windows-") as directory:
        bundle = Bundle.open(made.bundle)
        clip = Path(directory) / "joined.wav"
        joined(audio_files(request.folder), clip, seconds=request.seconds, sample_rate=bundle.spec.sample_rate)
        settings = Settings(threads=request.threads, model=made.bundle)
        command = f"apcodec bench windows {request.folder.resolve().name} --seconds {request.seconds:g}"
        quality = measure_quality(
            QualityPlan(
                command=command,
                entries=entries,
                references={entry.name: entries[-1] for entry in entries},
                settings=settings,
                folder=Path(directory),
                files=[clip],
            ),
            progress=progress,
        )
        speed = measure_speed(
            Plan(
                command=command,
                entries=entries,
                settings=settings,
                modes=modes_named(["paper"]),
                threads=request.threads,
                clips=Clips(files=[(str(clip), request.seconds)]),
                schedule=QUICK if request.quick else TABLE,
                stages=False,
            ),
            progress,
        )
    timings = tuple(replace(each, case=replace(each.case, file=clip.name)) for each in speed.timings)
    failures = {each.name: each.failures for each in speed.contenders}
    return replace(
        quality,
        settings={**quality.settings, **speed.settings},
        contenders=tuple(replace(each, failures=failures[each.name]) for each in quality.contenders),
        timings=timings,
        ceilings=speed.ceilings,
    )


def audio_files(folder: Path) -> list[Path]:
    """The audio files below a folder, by their names.

    Raises:
        BenchmarkError: There are none, or no such folder.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"{folder} is not a folder; name one with audio files")
    below = walk(folder, None, is_audio, lambda path, reason: None)
    found = sorted(path for path, _ in below if path.is_file() and not holds_attributes(path))
    if not found:
        raise BenchmarkError(f"{folder} holds no audio files; expected {', '.join(sorted(AUDIO_SUFFIXES))}")
    return found
