"""What a contender is: APCodec by some backend, another codec, anything that turns audio into codes and back.

Shapes: B clips of one length, N samples, Q codebooks, L frames of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.facts import Facts

Progress = Callable[[str], None]
Push = Callable[[NDArray[np.float32]], Any]
"""Audio (B, n) of whole frames that comes next in B streams, coded and decoded: what can be heard now, on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a contender is to run.

    Attributes:
        threads: CPU threads.
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``float16``.
        model: A bundle of APCodec; the embedded one where None.
        checkpoint: What the bundle was made from: a directory, ``random`` for the published shape with random weights.
        trained: Whether published weights may be downloaded.
        options: What the catalogue says of this contender alone.
    """

    threads: int
    device: str = "cpu"
    precision: str = "float32"
    model: str | None = None
    checkpoint: str | None = None
    trained: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """A codec that can be timed. Audio is float32 (B, N) at its own rate, mono, whatever its own channels are.

    What ``upload``, ``encode`` and ``decode`` give may be promises of a device; ``synchronize`` waits for them, and
    ``download`` gives what is really there.

    Attributes:
        facts: What it is.
        resident: Whether audio can stay where the model computes, so that copies can be left out.
    """

    facts: Facts
    resident: bool

    def upload(self, audio: NDArray[np.float32]) -> Any:
        """Audio (B, N) to where the model computes, as its ``encode`` takes it."""

    def encode(self, audio: Any) -> Any:
        """What ``upload`` gave, to codes, transforms included."""

    def decode(self, codes: Any) -> Any:
        """What ``encode`` gave, to audio, transforms included."""

    def download(self, audio: Any, samples: int) -> NDArray[np.float32]:
        """What ``decode`` gave, on the host: (B, ``samples``), mono."""

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class HasDescription(Protocol):
    """A contender of which more can be said than ``facts`` does, at a cost that is none of its start-up."""

    def describe(self) -> Facts:
        """The facts, complete."""


@runtime_checkable
class HasCodes(Protocol):
    """A contender whose codes can be compared with another one's."""

    def codes(self, codes: Any) -> NDArray[np.int64]:
        """What ``encode`` gave, as integers (B, Q, L)."""


@runtime_checkable
class HasStages(Protocol):
    """A contender that can be timed stage by stage."""

    def stages(self, audio: NDArray[np.float32]) -> Iterator[str]:
        """Pass audio (B, N) through; yield the name of each stage when it is done."""


@runtime_checkable
class HasStream(Protocol):
    """A contender that can code a clip of any length in bounded memory."""

    def stream(self, blocks: Iterator[NDArray[np.float32]]) -> int:
        """Pass blocks (N,) through the round trip, keep none of it; give the number of samples that came out."""


@runtime_checkable
class HasSessions(Protocol):
    """A contender that codes streams while they come."""

    def sessions(self, count: int) -> Push:
        """So many new streams, which go on in step."""


@runtime_checkable
class HasDeviceTime(Protocol):
    """A contender whose device keeps its own time."""

    def device_seconds(self, operation: str, audio: NDArray[np.float32]) -> float:
        """Seconds that the device computes for ``encode`` or ``decode`` of audio (B, N), copies excluded."""


@runtime_checkable
class HasWork(Protocol):
    """A contender whose arithmetic can be counted."""

    def work(self, samples: int) -> Mapping[str, tuple[float, float]]:
        """FLOP and least bytes of memory traffic by stage, for one clip of so many samples."""
