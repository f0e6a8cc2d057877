"""What is timed, under the names by which others publish such figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apcodec_benchmarks.measurements import Case
from apcodec_deploy.errors import BenchmarkError

DEFINITION = "RTF = compute time / audio time, by the median of the calls that count; below 1 is faster than real time"
ROUND_TRIP, ENCODE, DECODE, STREAM = "round_trip", "encode", "decode", "stream"
PUSH, VISITS, PIPE = "push", "visits", "pipe"
SESSIONS, SOAK = "sessions", "soak"
"""Further modes of live use; ``streaming.py`` has what they are."""
UTTERANCES = (1.5, 2.5, 4.0)
"""Seconds of the utterances where the user names no files: most of VCTK lies between these."""
WINDOWS = tuple(columns / 150 - 12.5e-6 for columns in (2, 4, 8, 15))
"""Seconds of 2, 4, 8 and 15 columns of codes of the published model: 13.3, 26.7, 53.3, 100 ms. N samples have
N // 320 + 1 columns, so a clip of whole columns would have one more; these end a sample before."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
BATCH_SECONDS = 2.78
"""418 columns of codes: one default window with its context of the embedded model, and within the 420 of the published
one, so that a clip is one row and engines made for windows take it."""
LENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1800.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """What is there to be timed.

    Attributes:
        seconds: Of the clip in modes of one clip.
        files: Utterances of the user's, with their seconds.
        quick: Whether fewer and shorter ones will do.
        device: Where they are coded.
    """

    seconds: float = 10.0
    files: Sequence[tuple[str, float]] = ()
    quick: bool = False
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way of measuring.

    Attributes:
        name: As users call it.
        what: What is measured and with whose figures it compares, in words.
        single_thread: Whether it is about one thread; else about as many as the user gives.
        cases: What is timed.
        growing: Whether the cases grow, so that what takes long is done once.
        ends: Whether a contender for whom one takes too long is spared the rest.
        usual: The kinds of device on which it is part of a run in which nobody names modes.
    """

    name: str
    what: str
    single_thread: bool = False
    cases: Callable[[Clips], list[Case]]
    growing: bool = False
    ends: bool = False
    usual: tuple[str, ...] = ("cpu", "cuda")

    @property
    def has_stages(self) -> bool:
        """Whether round trips of whole clips are part of it, so that its stages are worth knowing."""
        return self.name in ("cpuN", "paper")


def _utterances(clips: Clips) -> list[Case]:
    lengths = UTTERANCES[:2] if clips.quick else UTTERANCES
    found: Sequence[tuple[str | None, float]] = clips.files or [(None, seconds) for seconds in lengths]
    # On a CPU nothing is copied anywhere.
    ways = (True,) if clips.device == "cpu" else (True, False)
    return [
        Case(operation=ROUND_TRIP, seconds=seconds, file=file, copies=copies)
        for copies in ways
        for file, seconds in found
    ]


def _one_clip(clips: Clips) -> list[Case]:
    return [Case(operation=operation, seconds=clips.seconds) for operation in (ROUND_TRIP, ENCODE, DECODE)]


def _one_round_trip(clips: Clips) -> list[Case]:
    return [Case(operation=ROUND_TRIP, seconds=clips.seconds)]


def _windows(clips: Clips) -> list[Case]:
    lengths = WINDOWS[-1:] if clips.quick else WINDOWS
    return [Case(operation=operation, seconds=seconds) for seconds in lengths for operation in (ENCODE, DECODE)]


def _batches(clips: Clips) -> list[Case]:
    sizes = BATCHES[:2] if clips.quick else BATCHES
    return [Case(operation=ROUND_TRIP, seconds=BATCH_SECONDS, batch=batch) for batch in sizes]


def _device_time(clips: Clips) -> list[Case]:
    # Engines take one window at a time; anything longer would not be device time alone.
    return [
        Case(operation=operation, seconds=BATCH_SECONDS, copies=False, clock="device") for operation in (ENCODE, DECODE)
    ]


def _lengths(clips: Clips) -> list[Case]:
    lengths = LENGTHS[:3] if clips.quick else LENGTHS
    return [Case(operation=STREAM, seconds=seconds) for seconds in lengths]


MODES = (
    Mode(
        name="cpuN",
        what="one clip at a time, all threads given; round trip, and each direction apart (as AudioDec, with 4)",
        cases=_one_clip,
        usual=("cpu",),
    ),
    Mode(
        name="cpu1",
        what="one clip at a time on a single thread (as Encodec's own benchmark)",
        single_thread=True,
        cases=_one_round_trip,
        usual=("cpu",),
    ),
    Mode(
        name="paper",
        what="batch 1, whole utterances, transform to codes to audio, no file I/O and no resampling",
        cases=_utterances,
    ),
    Mode(
        name="window",
        what="one call on 13.3, 26.7, 53.3, 100 ms of audio, encoder and decoder apart (as AudioDec's latency tables)",
        cases=_windows,
    ),
    Mode(
        name="throughput",
        what=f"clips of {BATCH_SECONDS:g} s, as many at a time as stated; seconds of audio per second",
        cases=_batches,
        growing=True,
        ends=True,
    ),
    Mode(
        name="engine",
        what="what the GPU itself says it computed, copies and host excluded (as trtexec); not to be mixed with others",
        cases=_device_time,
        usual=("cuda",),
    ),
    Mode(
        name="length",
        what="clips of 1 s to 30 min, streamed; how time and memory grow",
        cases=_lengths,
        growing=True,
        usual=(),
    ),
)


def modes_named(names: Sequence[str] | None, device: str = "cpu") -> list[Mode]:
    """Modes by name, in the list's order; where None, the usual ones for a device like ``cpu`` or ``cuda:1``.

    Raises:
        BenchmarkError: There is no such mode.
    """
    if not names:
        return [mode for mode in MODES if device.partition(":")[0] in mode.usual]
    known = [mode.name for mode in MODES]
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"no mode is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return [mode for mode in MODES if mode.name in names]
