"""Codecs of known cost, and some that misbehave, for the tests of the benchmarks. Named as ``module:function``."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.facts import Facts
from apcodec_deploy.errors import ContenderError

PATH = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
"""``PYTHONPATH`` of processes that are to find this module beside what they find now."""
RATE = 16000
ENCODE, DECODE = 0.03, 0.05
"""Seconds per second of audio."""


class StandIn:
    """A codec that gives back what it gets, for nothing. Its codes are the samples in 8 bits, one codebook."""

    facts = Facts(
        title="Stand-in",
        library="none",
        sample_rate=RATE,
        bitrate=8.0 * RATE,
        frame=160,
        weights="trained",
        weights_hash="0" * 16,
    )

    resident = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def upload(self, audio: NDArray[np.float32]) -> Any:
        return audio

    def encode(self, audio: Any) -> Any:
        return np.round(np.clip(audio, -1, 1) * 127).astype(np.int64)

    def decode(self, codes: Any) -> Any:
        return (codes / 127).astype(np.float32)

    def codes(self, codes: Any) -> NDArray[np.int64]:
        result: NDArray[np.int64] = codes[:, None]
        return result

    def download(self, audio: Any, samples: int) -> NDArray[np.float32]:
        result: NDArray[np.float32] = audio[:, :samples]
        return result

    def synchronize(self) -> None:
        pass

    def close(self) -> None:
        pass


class Sleeper(StandIn):
    """Takes a known time and no CPU."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def encode(self, audio: Any) -> Any:
        self.wait(ENCODE * audio.size / RATE)
        return super().encode(audio)

    def decode(self, codes: Any) -> Any:
        self.wait(DECODE * codes.size / RATE)
        return super().decode(codes)


def small_ceiling(settings: Settings) -> Any:
    """The genuine ceiling with calls that take no time."""
    from apcodec_benchmarks.contenders import ceiling

    ceiling.SIDES, ceiling.COPY_BYTES = {"cpu": 128}, 1 << 16
    return ceiling.Ceiling(settings)


class Spinner(Sleeper):
    """Takes a known time and all of a CPU."""

    def wait(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass


class Device(Sleeper):
    """Returns at once and works in the background, as a GPU does; ``synchronize`` waits for it."""

    resident = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.busy_until = 0.0

    def wait(self, seconds: float) -> None:
        self.busy_until = max(self.busy_until, time.perf_counter()) + seconds

    def download(self, audio: Any, samples: int) -> NDArray[np.float32]:
        self.synchronize()
        return super().download(audio, samples)

    def synchronize(self) -> None:
        time.sleep(max(0.0, self.busy_until - time.perf_counter()))

    def device_seconds(self, operation: str, audio: NDArray[np.float32]) -> float:
        return {"encode": ENCODE, "decode": DECODE}[operation] * audio.size / RATE


class Hasty(Device):
    """Says that audio is on the host while its device still works: the mistake that makes GPUs look fast."""

    def download(self, audio: Any, samples: int) -> NDArray[np.float32]:
        return StandIn.download(self, audio, samples)


class Cold(Sleeper):
    """Slow at first: ten times for its first three round trips."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.calls = 0

    def wait(self, seconds: float) -> None:
        self.calls += 1
        super().wait(seconds * (10 if self.calls <= 6 else 1))


class Talker(StandIn):
    """Prints where it should not."""

    def encode(self, audio: Any) -> Any:
        sys.stdout.write("{not an answer}\n")
        os.write(1, b'{"seconds": [0.0], "late": [0.0]}\n')
        return super().encode(audio)


class Dier(StandIn):
    """Its process ends under its hands in the second call."""

    calls = 0
    good_calls = 1

    def encode(self, audio: Any) -> Any:
        self.calls += 1
        if self.calls > self.good_calls:
            sys.stderr.write("out of something\n")
            sys.stderr.flush()
            os._exit(7)
        return super().encode(audio)


class LateDier(Dier):
    """Its process ends in the third call: when it is open, one file goes well."""

    good_calls = 2


class Raiser(StandIn):
    """Cannot code what is longer than a second."""

    def encode(self, audio: Any) -> Any:
        if audio.shape[1] > RATE:
            raise RuntimeError("too long for me")
        return super().encode(audio)


class Hanger(StandIn):
    """Never comes back from what is longer than a second."""

    def encode(self, audio: Any) -> Any:
        if audio.shape[1] > RATE:
            threading.Event().wait()
        return super().encode(audio)


class Hungry(StandIn):
    """Takes 200 MB more than it needs, for a moment."""

    def encode(self, audio: Any) -> Any:
        np.ones(200 << 20, np.uint8)
        return super().encode(audio)


class Quieter(StandIn):
    """Gives back half of the level."""

    def decode(self, codes: Any) -> Any:
        return super().decode(codes) / 2


class Chooser(StandIn):
    """Chooses another code for every fourth sample, the first one among them."""

    def encode(self, audio: Any) -> Any:
        codes = super().encode(audio)
        codes[:, ::4] += 1
        return codes


class Packed(StandIn):
    """Knows what its codes really take: 3 bits each."""

    def bits(self, codes: Any) -> int:
        return 3 * int(codes.size)


class Uncountable(StandIn):
    """Gives back what is no number."""

    def decode(self, codes: Any) -> Any:
        return np.full(codes.shape, np.nan, np.float32)


class Untrained(StandIn):
    """Has random weights."""

    facts = Facts(title="Untrained", library="none", sample_rate=RATE, bitrate=8.0 * RATE, frame=160, weights="random")


def absent(settings: Settings) -> StandIn:
    """One that cannot run here."""
    raise ContenderError("it needs something that is not here: get it")


def late_starter(settings: Settings) -> StandIn:
    """One that takes its time to load."""
    time.sleep(0.5)
    return StandIn(settings)


def told(settings: Settings) -> StandIn:
    """One that writes down with what settings it was made."""
    Path(str(os.environ["TOLD"])).write_text(repr(settings), encoding="utf-8")
    return StandIn(settings)


class Live(Sleeper):
    """Codes live. A push takes a known time, and a tenth of that more for every further stream."""

    PUSH = 0.002

    def sessions(self, count: int) -> Any:
        def push(audio: NDArray[np.float32]) -> NDArray[np.float32]:
            assert len(audio) == count
            time.sleep(self.PUSH * (0.9 + 0.1 * count))
            return audio

        return push


class LiveSlow(Live):
    """Cannot keep pace with a single stream."""

    PUSH = 0.015


class LiveDier(Live):
    """Its process ends when there are four streams."""

    def sessions(self, count: int) -> Any:
        if count >= 4:
            os._exit(7)
        return super().sessions(count)
