"""From what ``apcodec bench stream`` is told to results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import APCODEC, Entry, entries_named, with_checkout
from apcodec_benchmarks.models import running, streamable_models, told_apart
from apcodec_benchmarks.pipe import Pipe, commands
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.streaming import (
    PUSHES,
    QUICK_PUSHES,
    QUICK_SEARCH,
    SEARCH,
    Progress,
    StreamPlan,
    measure_stream,
)
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.live.session import not_causal

TOKENS = (1, 2, 4, 8)
_QUICK_TOKENS = (1, 8)
_QUICK_MOST = 16
_QUICK_PIPED = 100
_PLAIN = "apcodec"
"""The contender that computes as the commands of the pipe do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What ``apcodec bench stream`` is told; see its options."""

    threads: int
    tokens: Sequence[int] | None = None
    codecs: Sequence[str] | None = None
    models: Sequence[str] = ()
    shape: str = "full"
    audiodec: Path | None = None
    trained: bool = False
    soak: int = 0
    quick: bool = False

    @property
    def command(self) -> str:
        """What was asked for, in words that hold no path."""
        words = ["apcodec bench stream"]
        words += [f"--codecs {','.join(self.codecs)}"] if self.codecs else []
        words += [f"--model {Path(model).name}" for model in self.models] or [f"--shape {self.shape}"]
        words += [f"--tokens {','.join(map(str, self.tokens))}"] if self.tokens else []
        words += [f"--threads {self.threads}"]
        words += [f"--soak {self.soak}"] if self.soak else []
        return " ".join([*words, *(["--quick"] if self.quick else [])])


def run_stream(request: StreamRequest, progress: Progress = lambda what, done, total: None) -> Results:
    """Measure live use.

    Raises:
        BenchmarkError: A contender or the shape is unknown, or the model cannot code live.
        ApcodecError: The model cannot be had.
    """
    entries = with_checkout(entries_named(request.codecs, live=True), request.audiodec)
    tokens = sorted(set(request.tokens or (_QUICK_TOKENS if request.quick else TOKENS)))
    with _models(request, lambda step: progress(step, 0, 0)) as models:
        plan = StreamPlan(
            command=request.command,
            entries=[each for entry in entries for each in _of_models(entry, models)],
            settings=Settings(threads=request.threads, model=next(iter(models.values())), trained=request.trained),
            threads=sorted({1, request.threads}),
            tokens=tokens,
            **({"most": _QUICK_MOST} if request.quick else {}),
            soak=request.soak,
            pipes=_pipes(entries, models, quick=request.quick),
            pushes=QUICK_PUSHES if request.quick else PUSHES,
            search=QUICK_SEARCH if request.quick else SEARCH,
        )
        return measure_stream(plan, progress)


@contextmanager
def _models(request: StreamRequest, progress: Callable[[str], None]) -> Iterator[Mapping[str, str]]:
    """Bundles' directories by what tells them apart: the user's, or those of random weights."""
    if not request.models:
        with streamable_models(request.shape, progress=progress) as made:
            yield made
        return
    found = told_apart(request.models, "--model")
    for name, model in found.items():
        bundle = Bundle.find(model)
        if not isinstance(bundle.spec, StreamSpec):
            raise BenchmarkError(not_causal(bundle.name, bundle.spec))
        found[name] = str(bundle.path)
    yield found if len(found) > 1 else {"": next(iter(found.values()))}


def _pipes(entries: Sequence[Entry], models: Mapping[str, str], *, quick: bool) -> dict[str, Pipe]:
    """What is timed end to end: the first model, as a contender of the same backend and precision runs it."""
    (plain,) = entries_named([_PLAIN])
    if plain not in entries:
        return {}
    label, path = next(iter(models.items()))
    spec = Bundle.open(path).spec
    encode, decode = commands(path, threads=1)
    pipe = Pipe(encode=encode, decode=decode, sample_rate=spec.sample_rate, unit=spec.samples_per_latent)
    return {running(plain, path, label).name: replace(pipe, tokens=_QUICK_PIPED) if quick else pipe}


def _of_models(entry: Entry, models: Mapping[str, str]) -> list[Entry]:
    """An APCodec once for each model; another codec as it is."""
    if entry.factory != APCODEC:
        return [entry]
    return [running(entry, path, label) for label, path in models.items()]
