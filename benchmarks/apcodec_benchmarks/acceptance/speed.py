"""One codec in this process, timed in every way: each batch, each direction, each stage, with and without copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from apcodec_benchmarks.acceptance.ceilings import Ceilings, Need
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.arithmetic.graphs import VIEWS, Work, bundle_work
from apcodec_benchmarks.contenders.base import HasWork
from apcodec_benchmarks.measurements import Case, Distribution
from apcodec_benchmarks.modes import DECODE, ENCODE, ROUND_TRIP
from apcodec_benchmarks.timing import rounds
from apcodec_benchmarks.workers.host import Host
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ApcodecError, ContenderError
from apcodec_deploy.families import DECODE as DECODING
from apcodec_deploy.families import ENCODE as ENCODING

_FLOAT_BYTES = 4
_ENDS = (ENCODING[0], DECODING[-1], ENCODE, DECODE)
"""Graphs or directions that take audio from the host, or give it back. Codes are small beside it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is timed.

    Attributes:
        what: Its name in the figures.
        contender: Ready to run.
        precision: Of its networks.
        bundle: Where it is ours, so that launches can be counted.
        largest: The most clips that it takes at a time; None where nobody says.
        clocked: The most clips of which its device tells the time; None where it tells none.
        replays: Whether so many clips of so many latents are replayed from recordings; None where nobody says.
    """

    what: str
    contender: Any
    precision: str
    bundle: Bundle | None = None
    largest: int | None = None
    clocked: int | None = None
    replays: Callable[[int, int], bool] | None = None


class Local:
    """A contender of this process as rounds time it."""

    def __init__(self, contender: Any) -> None:
        self.host = Host()
        self.host.subject = contender

    def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
        try:
            answer = self.host.time(case=asdict(case), calls=calls)
        except ApcodecError as error:
            raise ContenderError(str(error)) from error
        except Exception as error:  # foreign code: a card without memory left, mostly
            raise ContenderError(f"{type(error).__name__}: {error}") from error
        return answer["seconds"], answer["late"]


def measure(journal: Journal, subject: Subject, scale: Scale, ceilings: Ceilings | None) -> None:
    """Time everything; a case that fails is a failed check, and the next one is tried."""
    local = Local(subject.contender)
    work = _Work(subject, scale.seconds)
    batches = sorted({*scale.batches, *([subject.largest] if subject.largest else [])})
    for batch in batches:
        for case in _cases(subject, batch, scale.seconds):
            outcome = rounds({subject.what: local}, case, scale.schedule)[subject.what]
            if outcome.times is None:
                journal.check(f"{subject.what}: {case}", False, str(outcome.problem))
                continue
            share, limit = judged(ceilings, work.need(case), outcome.times, subject.precision)
            journal.figure(subject.what, case, outcome.times, share=share, limit=limit)
        case = Case(operation=ROUND_TRIP, seconds=scale.seconds, batch=batch)
        with journal.guarded(f"{subject.what}: stages of {case}"):
            for stage, times in _stages(local, case, scale).items():
                share, limit = judged(ceilings, work.need(case, stage), times, subject.precision)
                journal.figure(subject.what, case, times, share=share, limit=limit, stage=stage)
    journal.check(f"{subject.what}: timed", True)


def _cases(subject: Subject, batch: int, seconds: float) -> list[Case]:
    """The round trip as users wait for it, each direction, and both without copies where a clock leaves them out."""
    cases = [Case(operation=each, seconds=seconds, batch=batch) for each in (ROUND_TRIP, ENCODE, DECODE)]
    if subject.contender.resident:
        return [*cases, Case(operation=ROUND_TRIP, seconds=seconds, batch=batch, copies=False)]
    if subject.clocked is None or batch > subject.clocked:
        return cases
    return cases + [
        Case(operation=each, seconds=seconds, batch=batch, copies=False, clock="device") for each in (ENCODE, DECODE)
    ]


def judged(
    ceilings: Ceilings | None, need: Need | None, times: Distribution, precision: str
) -> tuple[float | None, str | None]:
    """The share of the card's own speed, and what limits; nothing where either is not known."""
    return ceilings.judge(need, times.median, precision) if ceilings and need else (None, None)


def _stages(local: Local, case: Case, scale: Scale) -> dict[str, Distribution]:
    """The stages of some round trips, each to its end."""
    local.host.stages(seconds=case.seconds, calls=1, batch=case.batch)
    calls = min(5, scale.schedule.calls)
    times: Mapping[str, list[float]] = local.host.stages(seconds=case.seconds, calls=calls, batch=case.batch)["stages"]
    return {stage: Distribution(tuple(seconds)) for stage, seconds in times.items()}


class _Work:
    """What calls of a contender ask of a card: counted once, for one clip, at the first question."""

    def __init__(self, subject: Subject, seconds: float) -> None:
        self._subject = subject
        self._samples = max(1, round(seconds * subject.contender.facts.sample_rate))

    @cached_property
    def _work(self) -> Mapping[str, Work]:
        """By stage or direction. Of what is not ours, weights are counted with each clip."""
        contender, bundle = self._subject.contender, self._subject.bundle
        if bundle:
            return bundle_work(bundle, self._samples, self._subject.precision)
        counted = contender.work(self._samples) if isinstance(contender, HasWork) else {}
        return {name: Work(products=flops, least_bytes=least) for name, (flops, least) in counted.items()}

    @cached_property
    def _nodes(self) -> dict[str, int]:
        """Operators of each graph that do something; of what is not ours nobody knows."""
        import onnx

        bundle, precision = self._subject.bundle, self._subject.precision
        if bundle is None:
            return {}
        graphs = {name: onnx.load_model_from_string(bundle.graph(name, precision)).graph for name in bundle.spec.graphs}
        return {name: sum(node.op_type not in VIEWS for node in graph.node) for name, graph in graphs.items()}

    def need(self, case: Case, stage: str | None = None) -> Need | None:
        """Of one case, or of a stage of it, which runs by itself; None where nobody can count it."""
        wanted = (stage,) if stage else self._work
        names = [name for name in wanted if name in self._work and case.operation in (ROUND_TRIP, _direction(name))]
        if not names:
            return None
        ways = sum(name in _ENDS for name in names)
        replayed = stage is None and self._replayed(case.batch)
        return Need(
            flops=case.batch * sum(self._work[name].products for name in names),
            moved=sum(self._work[name].least_bytes_of(case.batch) for name in names),
            bus=ways * case.batch * self._samples * _FLOAT_BYTES if case.copies else 0.0,
            launches=0 if replayed else sum(self._nodes.get(name, 0) for name in names),
        )

    def _replayed(self, batch: int) -> bool:
        bundle, replays = self._subject.bundle, self._subject.replays
        return bool(bundle and replays and replays(batch, bundle.spec.latents(self._samples)))


def _direction(name: str) -> str:
    return ENCODE if name in (*ENCODING, ENCODE) else DECODE
