"""A whole measurement of live use: what a push takes, how many streams are carried, and the way through the pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from apcodec_benchmarks.capacity import Search
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.environment import environment
from apcodec_benchmarks.measurements import Case, ContenderRecord, Distribution, Timing
from apcodec_benchmarks.modes import PIPE, PUSH, SESSIONS, SOAK, VISITS
from apcodec_benchmarks.pipe import Pipe, through
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.timing import Outcome, Schedule, rounds
from apcodec_benchmarks.workers.live import VISITORS
from apcodec_benchmarks.workers.process import Worker
from apcodec_benchmarks.workers.starting import started
from apcodec_deploy.errors import ContenderError

MODES = {
    PUSH: "encode and decode of a push to one stream; a token is a column of codes",
    SESSIONS: "the same for many streams in step, as one batch: doubling, then bisecting, until p99 is above the audio "
    "that is pushed",
    SOAK: f"pushes to {VISITORS} streams that come and go",
    PIPE: "'apcodec encode --live | apcodec decode' at the pace of a microphone: from when a token's last sample was "
    "written until it came out",
}
_MOST_SECONDS = 0.15
"""No more is pushed at a time, but for codecs whose frames are longer: beyond it people notice (ITU-T G.114)."""
_SOAK_PARTS = 2
_GROWTH = 1.05
"""Of the peak memory from one part of a soak to the next, beyond which it is said to grow."""
_SOAK_STEPS = 1000
PUSHES = Schedule(warm_up_calls=10, warm_up_seconds=1.0, calls=100, seconds=1.5, least=40)
SEARCH = Schedule(warm_up_calls=3, warm_up_seconds=0.5, calls=60, seconds=1.0, least=20)
QUICK_PUSHES = QUICK_SEARCH = Schedule(warm_up_calls=2, warm_up_seconds=0.3, calls=20, seconds=0.3, least=5)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What is to be measured.

    Attributes:
        command: What was asked for, as the results say it.
        entries: The contenders.
        settings: How they run, but for the threads.
        threads: Numbers of CPU threads, ascending. Many streams are measured with the last one.
        tokens: Columns of codes a push. Many streams are measured with the first and the last of those that a
            contender can do.
        most: Streams at a time beyond which nobody looks.
        soak: Pushes of the first contender, with the fewest threads, to streams that come and go; 0 for none.
        pipes: Commands to be timed end to end, by the name of their contender.
        pushes: How often one stream is pushed.
        search: How often many are.
    """

    command: str
    entries: Sequence[Entry]
    settings: Settings
    threads: Sequence[int]
    tokens: Sequence[int]
    most: int = 4096
    soak: int = 0
    pipes: Mapping[str, Pipe] = field(default_factory=dict)
    pushes: Schedule = PUSHES
    search: Schedule = SEARCH


def measure_stream(plan: StreamPlan, progress: Progress = lambda what, done, total: None) -> Results:
    """Measure everything in a plan. A contender that cannot run, fails or dies is in the results with its reason.

    Args:
        plan: What to measure.
        progress: Called with what is being done, and how much of how much is done.
    """
    before = environment()
    run = _Run(plan, progress)
    for threads in plan.threads:
        settings = replace(plan.settings, threads=threads)
        with started(plan.entries, settings, run.records, run.advance) as workers:
            run.pushes(workers, threads)
            if threads == plan.threads[0] and plan.soak:
                run.soak(workers, threads)
            if threads == plan.threads[-1]:
                run.sessions(workers, threads)
    for name, pipe in plan.pipes.items():
        run.pipe(name, pipe)
    run.finish()
    modes = {each.mode for each in run.timings}
    return Results(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        command=plan.command,
        environment=before,
        settings={
            "schedule": f"one stream: {plan.pushes}; many: {plan.search}",
            "threads": plan.threads[-1],
            "device": plan.settings.device,
            **({"soak": plan.soak} if plan.soak else {}),
            "modes": {mode: what for mode, what in MODES.items() if mode in modes},
        },
        contenders=tuple(run.records[entry.name] for entry in plan.entries),
        timings=tuple(run.timings),
    )


@dataclass(slots=True)
class _Run:
    """What has been measured so far."""

    plan: StreamPlan
    progress: Progress
    records: dict[str, ContenderRecord] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    _done: int = 0

    def advance(self, what: str) -> None:
        """Say what begins, or ended; how long a search takes nobody knows before."""
        self.progress(what, self._done, self._total)
        self._done = min(self._done + 1, self._total - 1)

    def finish(self) -> None:
        self.progress("done", self._total, self._total)

    @property
    def _total(self) -> int:
        """Starts, cases, searches."""
        plan = self.plan
        each = len(plan.threads) * (1 + len(plan.tokens)) + 2
        return max(1, len(plan.entries) * each + bool(plan.soak) + len(plan.pipes))

    def pushes(self, workers: dict[str, Worker], threads: int) -> None:
        """One stream, for each number of tokens a push."""
        for tokens in self.plan.tokens:
            cases = {name: self._case(name, tokens) for name in workers if tokens in self._tokens_of(name)}
            self._timed(PUSH, workers, cases, threads, self.plan.pushes)
            for name in cases:
                self.advance(f"{name}, {tokens} tokens a push")

    def soak(self, workers: dict[str, Worker], threads: int) -> None:
        """Very many pushes to streams that come and go, in parts whose peaks of memory are compared."""
        name = self.plan.entries[0].name
        if (worker := workers.get(name)) is None:
            return
        self.advance(f"{name}, {self.plan.soak} pushes to streams that come and go")
        case = replace(self._case(name, self.plan.tokens[0]), operation=VISITS)
        seconds: list[float] = []
        peaks: list[int | None] = []
        try:
            for _ in range(_SOAK_PARTS):
                worker.memory(reset=True)
                seconds += worker.time(case, -(-self.plan.soak // _SOAK_PARTS))[0]
                peaks.append(worker.memory())
        except ContenderError as error:
            self._fail(name, f"{SOAK}: {error}")
            return
        times = Distribution(tuple(seconds))
        self.timings.append(
            Timing(
                contender=name,
                mode=SOAK,
                threads=threads,
                case=case,
                times=times.thinned(_SOAK_STEPS) if len(seconds) > _SOAK_STEPS else times,
                memory=peaks[-1],
                warnings=_growth(peaks),
            )
        )

    def pipe(self, name: str, pipe: Pipe) -> None:
        """The way of samples through two processes."""
        if self.records[name].facts is None:
            return
        self.advance(f"{name}, end to end")
        try:
            times = Distribution(tuple(through(pipe)))
        except ContenderError as error:
            self._fail(name, f"{PIPE}: {error}")
            return
        case = Case(operation=PIPE, seconds=pipe.unit / pipe.sample_rate)
        self.timings.append(Timing(contender=name, mode=PIPE, threads=self.plan.threads[0], case=case, times=times))

    def sessions(self, workers: dict[str, Worker], threads: int) -> None:
        """As many streams as are carried, with the fewest and the most tokens a push."""
        for place in (0, -1):
            wanted = {name: tokens[place] for name in workers if (tokens := self._tokens_of(name))}
            if place == -1:  # whoever has but one number of tokens has been asked
                wanted = {name: tokens for name, tokens in wanted.items() if tokens != self._tokens_of(name)[0]}
            searches = {name: Search(self.plan.most) for name in wanted}
            for cases in self._steps(searches, wanted):
                outcomes = self._timed(SESSIONS, workers, cases, threads, self.plan.search)
                for name, case in cases.items():
                    times = outcomes[name].times
                    if times is None:
                        searches.pop(name)
                    else:
                        searches[name].tell(case.batch, fitted=times.p99 < case.seconds)
            for name in wanted:
                self.advance(f"{name}, many streams, {wanted[name]} tokens a push")

    def _steps(self, searches: Mapping[str, Search], wanted: Mapping[str, int]) -> Iterator[dict[str, Case]]:
        """What each search wants to know next, until none wants anything."""
        while cases := {
            name: replace(self._case(name, wanted[name]), batch=sessions)
            for name, search in searches.items()
            if (sessions := search.next()) is not None
        }:
            yield cases

    def _timed(
        self,
        mode: str,
        workers: Mapping[str, Worker],
        cases: Mapping[str, Case],
        threads: int,
        schedule: Schedule,
    ) -> dict[str, Outcome]:
        """Rounds of all that have a case; what they took is kept."""
        for name in cases:
            workers[name].memory(reset=True)
        outcomes = rounds({name: workers[name] for name in cases}, cases, schedule)
        for name, outcome in outcomes.items():
            if outcome.times is None:
                self._fail(name, f"{mode}: {outcome.problem}")
                continue
            self.timings.append(
                Timing(
                    contender=name,
                    mode=mode,
                    threads=threads,
                    case=cases[name],
                    times=outcome.times,
                    memory=workers[name].memory(),
                    warnings=outcome.warnings,
                )
            )
        return outcomes

    def _case(self, name: str, tokens: int) -> Case:
        return Case(operation=PUSH, seconds=tokens * self._frame(name))

    def _tokens_of(self, name: str) -> list[int]:
        """How many tokens a contender is pushed: as many as last no longer than a talk allows, but at least one."""
        asked, frame = self.plan.tokens, self._frame(name)
        return [tokens for tokens in asked if tokens == asked[0] or tokens * frame <= _MOST_SECONDS]

    def _frame(self, name: str) -> float:
        facts = self.records[name].facts
        assert facts is not None, "only the machine's ceiling has none"
        return facts.frame / facts.sample_rate

    def _fail(self, name: str, problem: str) -> None:
        record = self.records[name]
        if problem not in record.failures:
            self.records[name] = replace(record, failures=(*record.failures, problem))


def _growth(peaks: Sequence[int | None]) -> tuple[str, ...]:
    """A warning where the memory of the last part was above that of the first."""
    first, last = peaks[0], peaks[-1]
    if first is None or last is None or last <= _GROWTH * first:
        return ()
    return (f"memory grew from {first / 1e6:.0f} to {last / 1e6:.0f} MB",)
