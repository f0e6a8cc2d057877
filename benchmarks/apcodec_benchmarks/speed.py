"""A whole measurement of speed: contenders are started, timed in rounds, mode by mode, and the figures put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import CEILING, Entry
from apcodec_benchmarks.environment import device_memory, environment
from apcodec_benchmarks.measurements import Case, Ceiling, ContenderRecord, Distribution, StageTiming, Timing
from apcodec_benchmarks.modes import DEFINITION, ROUND_TRIP, Clips, Mode
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.timing import FULL, Outcome, Schedule, Timed, rounds
from apcodec_benchmarks.workers.process import Worker
from apcodec_benchmarks.workers.starting import started
from apcodec_deploy.errors import ContenderError
from apcodec_deploy.precision import BFLOAT16, INT8

PRODUCT, COPY = "product", "copy"
_LIMIT_SHARE = 0.5
"""A growing case that takes a contender more than this share of its time for one case is done once."""
_STAGE_CALLS = 3
_IMPOSSIBLE = 1.1
"""The share of the ceiling above which a figure is not believed: the ceiling itself has a spread."""
_BEYOND = "faster than this machine's ceiling: calls were not waited for, or the count is wrong"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured.

    Attributes:
        command: What was asked for, as the results say it.
        entries: The contenders.
        settings: How they run, but for the threads.
        modes: In what modes.
        threads: CPU threads, in modes that are not about one.
        clips: What is timed.
        schedule: How often.
        stages: Whether the stages of round trips are timed, too, in modes that have some.
    """

    command: str
    entries: Sequence[Entry]
    settings: Settings
    modes: Sequence[Mode]
    threads: int
    clips: Clips
    schedule: Schedule = FULL
    stages: bool = True


@dataclass(slots=True)
class _Found:
    """What has been measured so far."""

    records: dict[str, ContenderRecord] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    stages: list[StageTiming] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)


def measure_speed(plan: Plan, progress: Progress = lambda what, done, total: None) -> Results:
    """Measure everything in a plan. A contender that cannot run, fails or dies is in the results with its reason.

    Args:
        plan: What to measure.
        progress: Called with what is being done, and how much of how much is done.
    """
    found = _Found()
    before = environment()
    groups = [(threads, [mode for mode in plan.modes if mode.single_thread == single])
              for threads, single in ((plan.threads, False), (1, True))]  # fmt: skip
    cases = sum(len(mode.cases(plan.clips)) for mode in plan.modes)
    starts = sum(len(plan.entries) + 1 for _, modes in groups if modes)
    total, done = starts + cases * len(plan.entries), 0

    def advance(what: str) -> None:
        nonlocal done
        progress(what, done, total)
        done += 1

    for threads, modes in groups:
        if modes:
            settings = replace(plan.settings, threads=threads)
            with started((*plan.entries, CEILING), settings, found.records, advance) as workers:
                _Group(plan, threads, workers, found, advance).measure(modes)
    progress("done", total, total)
    return Results(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        command=plan.command,
        environment=before,
        settings={
            "definition": DEFINITION,
            "schedule": str(plan.schedule),
            "threads": plan.threads,
            "device": plan.settings.device,
            "precision": plan.settings.precision,
            "modes": {mode.name: mode.what for mode in plan.modes},
        },
        contenders=tuple(found.records[entry.name] for entry in plan.entries),
        ceilings=tuple(found.ceilings),
        timings=tuple(found.timings),
        stages=tuple(found.stages),
    )


class _Group:
    """Modes that are measured with one number of threads, in the same processes."""

    def __init__(
        self, plan: Plan, threads: int, workers: dict[str, Worker], found: _Found, advance: Callable[[str], None]
    ) -> None:
        self._plan, self._threads, self._found, self._advance = plan, threads, found, advance
        self._ceiling = workers.pop(CEILING.name, None)
        self._workers = workers
        self._rates: dict[str, list[float]] = {PRODUCT: [], COPY: []}
        self._pending: list[tuple[Timing, Mapping[str, float]]] = []
        self._work: dict[tuple[str, float], Mapping[str, tuple[float, float]]] = {}

    def measure(self, modes: Sequence[Mode]) -> None:
        """Measure the modes, then the stages of a round trip, then say what the ceilings were."""
        for mode in modes:
            alive = dict(self._workers)
            for case in mode.cases(self._plan.clips):
                for name in set(self._workers) - set(alive):
                    self._advance(f"{mode.name}: {name} has had enough")
                if alive:
                    self._case(mode, case, alive)
        self._account()
        if self._plan.stages and self._threads == self._plan.threads and any(mode.has_stages for mode in modes):
            self._stages()
        self._state_ceilings()

    def _case(self, mode: Mode, case: Case, alive: dict[str, Worker]) -> None:
        """Time one case in rounds of all contenders and the ceiling; those for whom it was too much leave ``alive``."""
        for worker in alive.values():
            worker.memory(reset=True)
        limit = _LIMIT_SHARE * self._plan.schedule.seconds if mode.growing else None
        timed: dict[str, Timed] = dict(alive)
        cases = dict.fromkeys(alive, case)
        if self._ceiling is not None:
            timed |= {PRODUCT: self._ceiling, COPY: self._ceiling}
            cases |= {name: Case(operation=name, seconds=0.0) for name in (PRODUCT, COPY)}

        def done(name: str) -> None:
            if name in alive:
                self._advance(f"{mode.name}: {name}, {case}")

        outcomes = rounds(timed, cases, self._plan.schedule, done=done, limit_seconds=limit)
        now = self._rates_of(outcomes)
        for name, worker in list(alive.items()):
            outcome = outcomes[name]
            if outcome.times is None:
                self._fail(name, f"{mode.name}: {outcome.problem}")
                alive.pop(name)
                continue
            if mode.ends and limit is not None and outcome.times.median > limit:
                alive.pop(name)
            self._keep(mode, case, name, worker, outcome.times, outcome.warnings, now)

    def _keep(
        self,
        mode: Mode,
        case: Case,
        name: str,
        worker: Worker,
        times: Distribution,
        warnings: Sequence[str],
        rates: Mapping[str, float],
    ) -> None:
        timing = Timing(
            contender=name,
            mode=mode.name,
            threads=self._threads,
            case=case,
            times=times,
            memory=worker.memory(),
            device_memory=device_memory(worker.process_id) if self._plan.settings.device != "cpu" else None,
            warnings=tuple(warnings),
        )
        self._pending.append((timing, rates))

    def _account(self) -> None:
        """Describe the contenders and hold their times against the ceiling of the same rounds.

        Only now: counting loads libraries and takes memory that are not the contender's own.
        """
        for name, worker in self._workers.items():
            with suppress(ContenderError):  # it has died, which its failures tell
                self._found.records[name] = replace(self._found.records[name], facts=worker.describe())
        for timing, rates in self._pending:
            share, case = None, timing.case
            if case.operation == ROUND_TRIP and (work := self._work_of(timing.contender, case.seconds)):
                least = case.batch * sum(_least_seconds(*each, rates) or 0.0 for each in work.values())
                share = least / timing.times.median if least else None
            # The ceiling is that of the precision asked for; a contender that brings a lower one may be beyond it.
            facts = self._found.records[timing.contender].facts
            lower = facts is not None and facts.precision in (BFLOAT16, INT8)
            beyond = share is not None and share > _IMPOSSIBLE and not lower
            warnings = timing.warnings + ((_BEYOND,) if beyond else ())
            self._found.timings.append(replace(timing, ceiling_share=share, warnings=warnings))

    def _stages(self) -> None:
        """Where the time of a round trip goes, for those that can tell, and the arithmetic of those that can count."""
        seconds = self._plan.clips.seconds
        calls = min(_STAGE_CALLS, self._plan.schedule.calls)
        for name, worker in self._workers.items():
            record = self._found.records[name]
            work = self._work_of(name, seconds)
            if work:
                total = sum(flops for flops, _ in work.values()) / seconds
                self._found.records[name] = replace(record, flops_per_second=total)
            try:
                worker.stages(seconds, 1)
                stages = worker.stages(seconds, calls)
            except ContenderError as error:
                self._fail(name, f"stages: {error}")
                continue
            rates = {what: Distribution(tuple(found)).median for what, found in self._rates.items() if found}
            for stage, times in stages.items():
                counted = work.get(stage)
                least = None if counted is None else _least_seconds(*counted, rates)
                median = Distribution(tuple(times)).median
                self._found.stages.append(
                    StageTiming(
                        contender=name,
                        threads=self._threads,
                        seconds=seconds,
                        stage=stage,
                        times=Distribution(tuple(times)),
                        flops=counted[0] if counted else None,
                        bytes=counted[1] if counted else None,
                        ceiling_share=least / median if least else None,
                    )
                )

    def _work_of(self, name: str, seconds: float) -> Mapping[str, tuple[float, float]]:
        """What a contender's arithmetic is for a clip, counted once; nothing where it cannot be counted."""
        key = (name, seconds)
        if key not in self._work:
            try:
                self._work[key] = self._workers[name].work(seconds)
            except ContenderError:
                self._work[key] = {}
        return self._work[key]

    def _fail(self, name: str, problem: str) -> None:
        record = self._found.records[name]
        self._found.records[name] = replace(record, failures=(*record.failures, problem))

    def _rates_of(self, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
        """What the machine did in these rounds: FLOP/s and bytes/s, by the median."""
        rates = {}
        for what in (PRODUCT, COPY):
            if self._ceiling is None or (times := outcomes[what].times) is None:
                continue
            amount, *_ = self._ceiling.amount(what)
            rates[what] = amount / times.median
            self._rates[what] += [amount / each for each in times.values]
        return rates

    def _state_ceilings(self) -> None:
        for what, rates in self._rates.items():
            if rates and self._ceiling is not None:
                _, size, precision = self._ceiling.amount(what)
                told = Distribution(tuple(rates))
                self._found.ceilings.append(
                    Ceiling(
                        operation=what,
                        threads=self._threads,
                        precision=precision,
                        size=size,
                        rate=told.median,
                        best=max(told.values),
                    )
                )


def _least_seconds(flops: float, moved: float, rates: Mapping[str, float]) -> float | None:
    """The time that a roofline allows: the longer of computing at the one ceiling and moving at the other."""
    if PRODUCT not in rates or COPY not in rates:
        return None
    return max(flops / rates[PRODUCT], moved / rates[COPY])
