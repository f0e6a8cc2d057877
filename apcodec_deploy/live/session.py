"""Sessions: a stream that is coded while it comes, or decoded while its codes come.

    audio -> resample -> whole tokens -> backend, with the session's state -> codes
    codes -> backend, with the session's state -> resample -> audio

Pieces of any size give what the whole gives, to the bit. A session holds its state and nothing else, so thousands of
them share one model.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.arrays import MAX_CHANNELS
from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.audio.resumable import ResumableResampler, resampling_delay
from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.errors import AudioError, SessionError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.passing import push_rows
from apcodec_deploy.spec import ModelSpec, StateTensor
from apcodec_deploy.streams import CALL_LATENTS


@dataclass(frozen=True, slots=True)
class LiveModel:
    """What sessions share: a causal model, what runs it, and the fingerprint that saved sessions are held against."""

    spec: StreamSpec
    backend: Backend
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a session wants of the backend now.

    Attributes:
        given: What was pushed, checked.
        rows: Whole tokens: audio (C, n) or codes (C, Q, n).
        left: Audio (C, n) that makes no whole token yet.
        last: Whether the stream ends with it.
    """

    given: NDArray[Any]
    rows: NDArray[Any]
    left: NDArray[np.float32]
    last: bool


class Session(ABC):
    """One stream in one direction. Threads may share it: a push waits for the one before.

    Attributes:
        sample_rate: Hz of its audio.
        channels: C; each is coded by itself.
        samples: Samples of audio, per channel, that went in or came out so far.
        tokens: Columns of codes, likewise.
        frame_samples: Samples that make up a token, at ``sample_rate``, rounded up.
        latency_seconds: What this side adds to the time from a sound to its echo, computing not counted: the encoder
            waits for a token's samples, the decoder for the windows that later tokens add, both for the resampler.
        delay_samples: Samples by which what comes out lags behind what went in, rounded up: ``latency_seconds`` without
            the wait for a token.
    """

    direction: ClassVar[str]

    def __init__(self, model: LiveModel, sample_rate: int, channels: int) -> None:
        if type(channels) is not int or not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{channels!r} channels; a whole number from 1 to {MAX_CHANNELS} is expected")
        self.model = model
        self.sample_rate, self.channels = check_rate(sample_rate), channels
        spec = model.spec
        self.frame_samples = math.ceil(spec.samples_per_latent * self.sample_rate / spec.sample_rate)
        delay = resampling_delay(*self._rates) + self._model_delay / spec.sample_rate
        self.delay_samples = math.ceil(round(delay * self.sample_rate, 6))
        self.latency_seconds = delay + self._model_wait / spec.sample_rate
        self._lock = threading.RLock()
        self.reset()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.sample_rate} Hz, {self.channels} channels, {self.samples} samples>"

    def __reduce__(self) -> NoReturn:
        raise SessionError(
            "a session is not pickled; send what save gives, and restore it in a session of the other codec"
        )

    def reset(self) -> None:
        """Begin a new stream; the session is like a new one."""
        with self._lock:
            self.samples = self.tokens = 0
            self._ended = False
            self._states: tuple[Carried, ...] = ((),) * self.channels
            self._left = np.zeros((self.channels, 0), np.float32)
            self._resampler = ResumableResampler(*self._rates, self.channels)

    def save(self) -> dict[str, NDArray[Any]]:
        """All that the session is, as plain arrays: ``numpy.savez(file, **session.save())``.

        A session of the same model, rate and channels goes on from it, on any machine and backend: to the bit where
        the backend is the same and ``sample_rate`` is the model's, else within rounding.
        """
        with self._lock:
            states = [self.model.backend.fetched(self.direction, state) for state in self._states]
            saved = self._identity() | {
                "counts": np.array([self.samples, self.tokens, self._ended], np.int64),
                "left": self._left,
            }
            saved |= {f"resampler_{name}": value for name, value in self._resampler.save().items()}
            for tensor, arrays in zip(self._tensors, zip(*states, strict=True), strict=True):
                saved[f"state_{tensor.name}"] = np.stack(arrays)
            return saved

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> Self:
        """Go on from what ``save`` gave.

        Raises:
            SessionError: It is of another model, direction, rate or number of channels, or it is no saved session.
        """
        try:
            found = {name: str(saved[name]) for name in self._identity()}
            for name, own in self._identity().items():
                if found[name] != str(own):
                    raise SessionError(f"the saved session has {name} {found[name]}; this one has {own}")
            arrays = [np.asarray(saved[f"state_{tensor.name}"]) for tensor in self._tensors]
            resampler = {name: np.asarray(saved[f"resampler_{name}"]) for name in self._resampler.save()}
            samples, tokens, ended = (int(count) for count in saved["counts"])
            left = np.asarray(saved["left"])
        except (KeyError, TypeError, ValueError) as error:
            raise SessionError(f"this is no saved session ({error!r}); what Session.save gave is expected") from error
        for name, array, shape in (
            *((tensor.name, array, tensor.shape) for tensor, array in zip(self._tensors, arrays, strict=True)),
            ("left", left, left.shape[1:]),
            ("resampler_history", resampler["history"], resampler["history"].shape[1:]),
        ):
            if array.shape != (self.channels, *shape) or array.dtype != np.float32:
                raise SessionError(
                    f"the saved session's {name} is {array.dtype} {list(array.shape)}; float32 "
                    f"{[self.channels, *shape]} is expected"
                )
        resumed = ResumableResampler(*self._rates, self.channels)
        resumed.restore(resampler)
        with self._lock:
            self.samples, self.tokens, self._ended = samples, tokens, bool(ended)
            self._states = tuple(tuple(array[row].copy() for array in arrays) for row in range(self.channels))
            self._left, self._resampler = left, resumed
        return self

    @property
    @abstractmethod
    def _rates(self) -> tuple[int, int]:
        """Hz before and after the resampler."""

    @property
    @abstractmethod
    def _model_delay(self) -> int:
        """Samples at the model's rate by which the model's output lags."""

    @property
    @abstractmethod
    def _model_wait(self) -> int:
        """Samples at the model's rate that are waited for before there is anything to compute."""

    @property
    @abstractmethod
    def _per_token(self) -> int:
        """Steps along the last axis of rows that make up a token."""

    @abstractmethod
    def _checked(self, given: Any) -> NDArray[Any]:
        """What was pushed, as an array (C, ..., n), or the error that says what is wrong with it."""

    @abstractmethod
    def _begin(self, given: NDArray[Any], *, last: bool) -> Step:
        """What is to be computed now. Nothing of the session changes but its resampler."""

    @abstractmethod
    def _end(self, step: Step, made: NDArray[Any]) -> NDArray[Any]:
        """Take over what was computed, and say what comes out."""

    @property
    def _tensors(self) -> tuple[StateTensor, ...]:
        return self.model.spec.states[self.direction]

    def _open(self) -> None:
        if self._ended:
            raise SessionError("this session was flushed, its stream has ended; reset begins a new one")

    def _identity(self) -> dict[str, NDArray[Any]]:
        return {
            "direction": np.array(self.direction),
            "model": np.array(self.model.fingerprint),
            "sample_rate": np.array(self.sample_rate),
            "channels": np.array(self.channels),
        }


def not_causal(name: str, spec: ModelSpec) -> str:
    """Why a model of that name has no sessions, and what to do instead."""
    return (
        f"the model {name} is of the family {spec.family}: what it codes depends on what comes later, so it cannot "
        "code a stream while it comes; take a model of the family apcodec-s (demo-s), or give the whole clip to encode"
    )


def push_many(model: LiveModel, sessions: Sequence[Session], given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Push to several sessions of a model; see ``Codec.push_many``."""
    if len(sessions) != len(given):
        raise SessionError(f"{len(sessions)} sessions and {len(given)} blocks; one block for each is expected")
    if len({id(session) for session in sessions}) < len(sessions):
        raise SessionError("a session is there twice; push its blocks one after the other")
    if any(session.model is not model for session in sessions):
        raise SessionError("a session is another codec's; push it with that one")
    return run(sessions, given)


def run(sessions: Sequence[Session], given: Sequence[Any], *, last: bool = False) -> list[NDArray[Any]]:
    """Push, or end, sessions: all of it is computed before any of them changes."""
    with ExitStack() as locks:
        for session in sorted(sessions, key=id):  # in one order, so that two callers never wait for each other
            locks.enter_context(session._lock)
        blocks = []
        for session, block in zip(sessions, given, strict=True):
            session._open()
            blocks.append(session._checked(block))
        resamplers = [session._resampler.save() for session in sessions]
        try:
            steps = [session._begin(block, last=last) for session, block in zip(sessions, blocks, strict=True)]
            computed = _computed(sessions, steps)
        except BaseException:
            for session, saved in zip(sessions, resamplers, strict=True):
                session._resampler.restore(saved)
            raise
        results = []
        for session, step, (made, states) in zip(sessions, steps, computed, strict=True):
            session._states, session._left, session._ended = states, step.left, step.last
            session.tokens += step.rows.shape[-1] // session._per_token
            results.append(session._end(step, made))
        return results


def _computed(sessions: Sequence[Session], steps: Sequence[Step]) -> list[tuple[NDArray[Any], tuple[Carried, ...]]]:
    """What the backend makes of each step, and the states after it. Steps of one length go together."""
    found: list[tuple[NDArray[Any], tuple[Carried, ...]]] = [()] * len(sessions)  # type: ignore[list-item]
    alike: dict[tuple[str, int], list[int]] = {}
    for index, (session, step) in enumerate(zip(sessions, steps, strict=True)):
        alike.setdefault((session.direction, step.rows.shape[-1] // session._per_token), []).append(index)
    for (direction, tokens), group in alike.items():
        first = sessions[group[0]]
        rows = np.concatenate([steps[index].rows for index in group]) if len(group) > 1 else steps[group[0]].rows
        states = tuple(state for index in group for state in sessions[index]._states)
        made, after = _passed(first.model, direction, rows, states, tokens)
        start = 0
        for index in group:
            stop = start + sessions[index].channels
            found[index] = made[start:stop], after[start:stop]
            start = stop
    return found


def _passed(
    model: LiveModel, direction: str, rows: NDArray[Any], states: tuple[Carried, ...], tokens: int
) -> tuple[NDArray[Any], tuple[Carried, ...]]:
    """Rows through the backend, in calls of bounded size."""
    if not tokens:
        shape = (len(rows), model.spec.num_codebooks, 0) if direction == "encode" else (len(rows), 0)
        return np.zeros(shape, np.float32), states
    per_token = rows.shape[-1] // tokens
    made = []
    for start in range(0, tokens, CALL_LATENTS):
        some = rows[..., start * per_token : (start + CALL_LATENTS) * per_token]
        result, states = push_rows(model.backend, direction, some, states, some.shape[-1] // per_token)
        made.append(result)
    return np.concatenate(made, axis=-1) if len(made) > 1 else made[0], states
