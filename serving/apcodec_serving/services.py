"""What answers requests: arrays by name in, arrays by name or an error out. Knows nothing of Triton.

Requests of one call are coded together. Nobody's answer depends on who else asks: lengths are never mixed, and a
request that cannot be answered fails alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.arrays import checked_clip
from apcodec_deploy.audio.resampling import check_rate, resampled_length
from apcodec_deploy.codec import Codec
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import ApcodecError, AudioError, ModelMismatchError, ServingError
from apcodec_deploy.spec import WindowLength
from apcodec_serving.interface import AUDIO, CODES, FINGERPRINT, SAMPLE_RATE, SAMPLES

Arrays = Mapping[str, NDArray[Any]]
Answer = Arrays | Exception
Asked = TypeVar("Asked")
Task = TypeVar("Task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a server codes.

    Attributes:
        window: As in ``Codec.encode``; None takes the model's.
        seconds: The most audio of one request, all of its rows together.
    """

    window: WindowLength = None
    seconds: float


class Service(ABC, Generic[Asked, Task]):
    """One direction of a codec, for many requests at a time."""

    def __init__(self, codec: Codec, limits: Limits) -> None:
        self.codec, self.limits = codec, limits

    def answers(self, requests: Sequence[Asked]) -> list[Answer]:
        """An answer or an error for each request, in order."""
        answers: dict[int, Answer] = {}
        tasks: dict[int, Task] = {}
        for index, request in enumerate(requests):
            try:
                tasks[index] = self.read(request)
            except ApcodecError as error:
                answers[index] = error
        answers.update(zip(tasks, self._answered(list(tasks.values())), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _answered(self, tasks: list[Task]) -> list[Answer]:
        """All at once; where that fails one by one, so that only those fail that would fail alone."""
        try:
            return list(self.run(tasks)) if tasks else []
        except Exception as error:  # whatever it is, the server goes on, and whoever asked is told
            return [error] if len(tasks) == 1 else [self._answered([task])[0] for task in tasks]

    def check_length(self, rows: int, samples: int, rate: int) -> None:
        """Refuse more audio than one request may hold.

        Raises:
            ServingError: There is more.
        """
        if (seconds := rows * samples / rate) > self.limits.seconds:
            raise ServingError(
                f"{seconds:.1f} s of audio in one request; this server takes {self.limits.seconds:g} s, all rows "
                "together: send shorter clips, or use 'apcodec transcode' for files"
            )

    @abstractmethod
    def read(self, request: Asked) -> Task:
        """Check a request.

        Raises:
            ApcodecError: It cannot be answered.
        """

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Sequence[Answer]:
        """Answer requests that were checked, at least one. What is raised has changed nothing."""

    @abstractmethod
    def warm_up(self) -> None:
        """Load what the direction needs, and use it once."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio (B, N) at a sample rate."""

    audio: NDArray[np.float32]
    rate: int


class EncodeService(Service[Arrays, Clip]):
    """Audio to codes."""

    def read(self, request: Arrays) -> Clip:
        audio = request[AUDIO]
        rate = check_rate(one(request, SAMPLE_RATE, self.codec.sample_rate))
        self.check_length(len(audio), audio.shape[1], rate)
        for number, row in enumerate(audio):
            try:
                checked_clip(row)
            except AudioError as error:
                raise AudioError(f"row {number}: {error}") from error
        return Clip(audio, rate)

    def run(self, tasks: Sequence[Clip]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for rate in {clip.rate for clip in tasks}:
            alike = {index: clip for index, clip in enumerate(tasks) if clip.rate == rate}
            rows = [row for clip in alike.values() for row in clip.audio]
            coded = iter(self.codec.encode_batch(rows, rate, window=self.limits.window))
            for index, clip in alike.items():
                answers[index] = self._answer([next(coded) for _ in clip.audio], clip)
        return [answers[index] for index in range(len(tasks))]

    def _answer(self, rows: list[EncodedAudio], clip: Clip) -> Arrays:
        codes = np.concatenate([row.codes for row in rows])
        return coded_answer(self.codec, codes, clip.audio.shape[1], clip.rate)

    def warm_up(self) -> None:
        self.codec.backend.prepare(encode=True, decode=False)
        samples = self.codec.spec.samples_range(self.codec.spec.judged_latents)[1]
        self.codec.encode(np.zeros(samples, np.float32), window=self.limits.window)


class DecodeService(Service[Arrays, list[EncodedAudio]]):
    """Codes to audio."""

    def read(self, request: Arrays) -> list[EncodedAudio]:
        codes = request[CODES]
        rows, _, latents = codes.shape
        if not latents:
            raise ServingError(f"{CODES} of shape {list(codes.shape)}; at least one column is expected")
        check_codes(self.codec, request)
        rate = check_rate(one(request, SAMPLE_RATE, self.codec.sample_rate))
        samples = int(one(request, SAMPLES, self._longest(latents, rate)))
        if samples < 1:
            raise ServingError(f"{SAMPLES} is {samples}; at least 1 is expected")
        if (made := self._latents(samples, rate)) != latents:
            raise ServingError(f"{SAMPLES} is {samples} at {rate} Hz, which make {made} columns; {CODES} has {latents}")
        self.check_length(rows, samples, rate)
        return self._coded(codes, samples, rate)

    def run(self, tasks: Sequence[list[EncodedAudio]]) -> list[Answer]:
        decoded = iter(self.codec.decode_batch([row for rows in tasks for row in rows]))
        return [{AUDIO: np.stack([next(decoded) for _ in rows])} for rows in tasks]

    def warm_up(self) -> None:
        self.codec.backend.prepare(encode=False, decode=True)
        latents, rate = self.codec.spec.judged_latents, self.codec.sample_rate
        codes = np.zeros((1, self.codec.num_codebooks, latents), np.int32)
        self.run([self._coded(codes, self._longest(latents, rate), rate)])

    def _coded(self, codes: NDArray[np.int32], samples: int, rate: int) -> list[EncodedAudio]:
        """Rows of codes as clips of one length."""
        layout = self.codec.layout(self.limits.window)
        header = self.codec.header(rate, 1, layout, one_dimensional=True).counted(samples, codes.shape[2])
        return [EncodedAudio(row[None].astype(np.int16), header) for row in codes]

    def _latents(self, samples: int, rate: int) -> int:
        """Columns of a clip."""
        return self.codec.spec.latents(resampled_length(samples, rate, self.codec.sample_rate))

    def _longest(self, latents: int, rate: int) -> int:
        """Samples of the longest clip of so many columns."""
        samples = resampled_length(self.codec.spec.samples_range(latents)[1], self.codec.sample_rate, rate)
        while samples > 1 and self._latents(samples, rate) > latents:  # rounded up
            samples -= 1
        return samples


def coded_answer(codec: Codec, codes: NDArray[np.integer[Any]], samples: int, rate: int) -> Arrays:
    """What encoding gives: codes (B, Q, L) of so many samples, and all that decoding takes beside them."""
    rows = len(codes)
    return {
        CODES: codes.astype(np.int32),
        SAMPLES: np.full((rows, 1), samples, np.int64),
        SAMPLE_RATE: np.full((rows, 1), rate, np.int32),
        FINGERPRINT: np.full((rows, 1), codec.fingerprint[:16].encode(), np.object_),
    }


def check_codes(codec: Codec, request: Arrays) -> None:
    """Refuse codes that no model of this kind makes, and those of another model.

    Raises:
        ServingError: They are out of range.
        ModelMismatchError: They are another model's.
    """
    codes = request[CODES]
    if codes.size and (codes.min() < 0 or codes.max() >= codec.codebook_size):
        raise ServingError(f"codes from {codes.min()} to {codes.max()}; this model has 0 to {codec.codebook_size - 1}")
    own, given = codec.fingerprint[:16], one(request, FINGERPRINT, None)
    if given is not None and (name := bytes(given).decode("utf-8", "replace")) != own:
        raise ModelMismatchError(f"these codes were made by model {name!r}; this server has {own}")


def one(request: Arrays, name: str, default: Any) -> Any:
    """The value of an optional input, which is one for all rows.

    Raises:
        ServingError: Rows differ.
    """
    if (given := request.get(name)) is None:
        return default
    values = set(given.reshape(-1).tolist())
    if len(values) != 1:
        raise ServingError(f"{name} differs between the rows of a request; send clips that differ as several requests")
    return values.pop()
