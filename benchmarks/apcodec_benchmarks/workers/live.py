"""What is timed of streams that are coded while they come: a push to some in step, a push to one of many."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import HasSessions, Push
from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.modes import PUSH, VISITS
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import BenchmarkError

_SPEECH_SECONDS = 4.0
"""What streams hear, again and again."""
VISITORS = 50
"""Streams that are open at a time where they come and go."""
VISIT_PUSHES = 40
"""How often such a stream is pushed, on average, until a new one takes its place."""


def pushes(subject: Any, case: Case) -> Callable[[], object]:
    """A push to streams that go on in step. In the same speech each is one push ahead of the one before."""
    push, unit = _sessions(subject, case.batch), _unit(subject, case)
    speech = _speech(subject, unit, case.batch)
    places = itertools.cycle(range(0, len(speech) - case.batch * unit, unit))

    def call() -> object:
        place = next(places)
        return push(speech[place : place + case.batch * unit].reshape(case.batch, unit))

    return call


def visits(subject: Any, case: Case) -> Callable[[], object]:
    """A push to one of many streams that come and go."""
    unit = _unit(subject, case)
    speech = _speech(subject, unit)
    places = itertools.cycle(range(0, len(speech) - unit, unit))
    visitors = [_sessions(subject, 1) for _ in range(VISITORS)]
    chance = np.random.default_rng(0)

    def call() -> object:
        who, place = int(chance.integers(VISITORS)), next(places)
        if chance.random() < 1 / VISIT_PUSHES:
            visitors[who] = _sessions(subject, 1)
        return visitors[who](speech[None, place : place + unit])

    return call


LIVE: dict[str, Callable[[Any, Case], Callable[[], object]]] = {PUSH: pushes, VISITS: visits}
"""By operation: what makes its call ready."""


def _sessions(subject: Any, count: int) -> Push:
    if not isinstance(subject, HasSessions):
        raise BenchmarkError("it cannot code what is still coming")
    return subject.sessions(count)


def _unit(subject: Any, case: Case) -> int:
    rate: int = subject.facts.sample_rate
    return max(1, round(case.seconds * rate))


def _speech(subject: Any, unit: int, batch: int = 1) -> NDArray[np.float32]:
    """Whole pushes of speech, and the first ones of them once more: as many as are pushed at a time."""
    rate = subject.facts.sample_rate
    held = max(1, round(_SPEECH_SECONDS * rate) // unit)
    return np.resize(reference_signals(rate, held * unit)["speech"], (held + batch) * unit)
