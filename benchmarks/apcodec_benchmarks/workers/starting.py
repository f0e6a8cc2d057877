"""All contenders of a measurement at once, each in its process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.measurements import ContenderRecord
from apcodec_benchmarks.workers.process import Worker
from apcodec_deploy.errors import ContenderError


@contextmanager
def started(
    entries: Sequence[Entry],
    settings: Settings,
    records: dict[str, ContenderRecord],
    advance: Callable[[str], None] = lambda what: None,
) -> Iterator[dict[str, Worker]]:
    """Start every contender that can run, one after the other; at the end all of them end.

    Args:
        entries: The contenders.
        settings: How they run.
        records: Of each contender that has none yet it is noted here what it is, or why it does not run.
        advance: Called with what begins next.
    """
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        for entry in entries:
            advance(f"starting {entry.name}")
            try:
                worker = stack.enter_context(Worker(entry, settings))
            except ContenderError as error:
                records.setdefault(entry.name, ContenderRecord(name=entry.name, problem=str(error)))
                continue
            workers[entry.name] = worker
            known = ContenderRecord(
                name=entry.name,
                facts=worker.facts,
                load_seconds=worker.load_seconds,
                first_seconds=worker.first_seconds,
            )
            records.setdefault(entry.name, known)
        yield workers
