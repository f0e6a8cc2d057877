"""What answers pushes of streams: a session for each stream, kept from its first push to its last.

Pushes of one call are coded together. Nobody's codes depend on who else pushes, and what cannot be answered fails alone
and leaves its stream as it was.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import ServingError
from apcodec_deploy.live.decoder import DecoderSession
from apcodec_deploy.live.encoder import EncoderSession
from apcodec_serving.interface import AUDIO, CODES, SAMPLE_RATE, SAMPLES
from apcodec_serving.services import Answer, Arrays, Limits, Service, check_codes, coded_answer, one

Live = TypeVar("Live", EncoderSession, DecoderSession)
Name = int | str
"""What a client calls its stream: a correlation id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A request of a stream.

    Attributes:
        stream: Which.
        first: Whether the stream begins with it. A stream of that name that has not ended is forgotten.
        last: Whether the stream ends with it, answered or refused.
        arrays: What is pushed, one row of it.
    """

    stream: Name
    first: bool = False
    last: bool = False
    arrays: Arrays


@dataclass(slots=True)
class _Stream(Generic[Live]):
    """A stream that has begun. Its session is opened by the first push that can be answered."""

    session: Live | None = None
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class Step(Generic[Live]):
    """A push that was checked."""

    session: Live
    push: Push


class StreamService(Service[Push, Step[Live]]):
    """One direction of streams."""

    def __init__(self, codec: Codec, limits: Limits, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait for streams.

        Args:
            codec: Of a model that has sessions.
            limits: As for clips; a push is a request.
            idle: Seconds after its last push for which the server still takes one.
            clock: What tells the time.
        """
        super().__init__(codec, limits)
        self.idle, self._clock = idle, clock
        self._streams: dict[Name, _Stream[Live]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Streams that have begun and not ended."""
        return len(self._streams)

    def answers(self, requests: Sequence[Push]) -> list[Answer]:
        """An answer or an error for each push, in order."""
        with self._lock:
            return [answer for turn in _turns(requests) for answer in self._answers(turn)]

    def forget(self, stream: Name) -> None:
        """Free a stream whose client has gone."""
        with self._lock:
            self._streams.pop(stream, None)

    def forget_idle(self) -> int:
        """Free the streams that the server has given up: how many.

        A push that came in time may have to wait, so a stream is kept for twice the time.
        """
        with self._lock:
            before = self._clock() - 2 * self.idle
            idle = [name for name, stream in self._streams.items() if stream.answered < before]
            for name in idle:
                del self._streams[name]
            return len(idle)

    def read(self, request: Push) -> Step[Live]:
        if (stream := self._streams.get(request.stream)) is None:
            raise ServingError(
                f"there is no stream {request.stream}: it was cancelled, or nothing came for more than {self.idle:g} "
                "s; begin it again, with the flag of a start"
            )
        given = one(request.arrays, SAMPLE_RATE, None)
        session = stream.session
        if session is None:
            session = self.begun(self.codec.sample_rate if given is None else check_rate(given))
        elif given not in (None, session.sample_rate):
            raise ServingError(
                f"{SAMPLE_RATE} is {given}, and this stream is at {session.sample_rate} Hz: begin another"
            )
        self.check(session, request)
        stream.session = session
        return Step(session, request)

    def run(self, tasks: Sequence[Step[Live]]) -> list[Answer]:
        going = [task for task in tasks if not task.push.last]
        pushed = self.codec.push_many([task.session for task in going], [self.given(task.push) for task in going])
        made = iter(pushed)
        return [self._ended(task) if task.push.last else self.answer(task.session, next(made)) for task in tasks]

    @abstractmethod
    def begun(self, rate: int) -> Live:
        """A session at that rate."""

    @abstractmethod
    def check(self, session: Live, push: Push) -> None:
        """Refuse what cannot be pushed.

        Raises:
            ApcodecError: It cannot.
        """

    @abstractmethod
    def given(self, push: Push) -> NDArray[Any]:
        """What the session is given."""

    @abstractmethod
    def ended(self, session: Live, push: Push) -> NDArray[Any]:
        """End the stream with that push."""

    @abstractmethod
    def answer(self, session: Live, made: NDArray[Any]) -> Arrays:
        """What the session made, as the client gets it."""

    def _answers(self, pushes: Sequence[Push]) -> list[Answer]:
        """Of pushes that are each of another stream."""
        for push in pushes:
            if push.first:
                self._streams[push.stream] = _Stream()
        answers = super().answers(pushes)
        for push in pushes:
            if push.last:
                self._streams.pop(push.stream, None)
            elif stream := self._streams.get(push.stream):
                stream.answered = self._clock()
        return answers

    def _ended(self, task: Step[Live]) -> Answer:
        """Ends are computed one by one, after all pushes: an error is the stream's own."""
        try:
            return self.answer(task.session, self.ended(task.session, task.push))
        except Exception as error:
            return error


class StreamEncodeService(StreamService[EncoderSession]):
    """Audio to codes, while it comes."""

    def begun(self, rate: int) -> EncoderSession:
        return self.codec.encoder(rate)

    def check(self, session: EncoderSession, push: Push) -> None:
        audio = push.arrays[AUDIO]
        self.check_length(len(audio), audio.shape[1], session.sample_rate)
        check_samples(audio, session.samples)

    def given(self, push: Push) -> NDArray[np.float32]:
        return push.arrays[AUDIO]

    def ended(self, session: EncoderSession, push: Push) -> NDArray[np.int16]:
        return session.flush(push.arrays[AUDIO])

    def answer(self, session: EncoderSession, made: NDArray[np.int16]) -> Arrays:
        return coded_answer(self.codec, made, session.samples, session.sample_rate)

    def warm_up(self) -> None:
        self.codec.backend.prepare(encode=True, decode=False)
        self.codec.encoder().push(np.zeros(self.codec.spec.samples_per_latent, np.float32))


class StreamDecodeService(StreamService[DecoderSession]):
    """Codes to audio, while they come."""

    def begun(self, rate: int) -> DecoderSession:
        return self.codec.decoder(rate)

    def check(self, session: DecoderSession, push: Push) -> None:
        codes = push.arrays[CODES]
        check_codes(self.codec, push.arrays)
        self.check_length(len(codes), codes.shape[2] * self.codec.spec.samples_per_latent, self.codec.sample_rate)
        if push.last and (samples := one(push.arrays, SAMPLES, 0)) < 0:
            raise ServingError(f"{SAMPLES} is {samples}; the samples of the whole stream are expected")

    def given(self, push: Push) -> NDArray[np.int32]:
        return push.arrays[CODES]

    def ended(self, session: DecoderSession, push: Push) -> NDArray[np.float32]:
        return session.flush(push.arrays[CODES], samples=one(push.arrays, SAMPLES, None))

    def answer(self, session: DecoderSession, made: NDArray[np.float32]) -> Arrays:
        return {AUDIO: made}

    def warm_up(self) -> None:
        self.codec.backend.prepare(encode=False, decode=True)
        self.codec.decoder().push(np.zeros((1, self.codec.num_codebooks, 1), np.int32))


def _turns(pushes: Sequence[Push]) -> list[list[Push]]:
    """Pushes in order, in groups of which each has one push of a stream."""
    turns: list[list[Push]] = []
    there: set[Name] = set()
    for push in pushes:
        if not turns or push.stream in there:
            turns.append([])
            there.clear()
        turns[-1].append(push)
        there.add(push.stream)
    return turns
