"""A process that holds one contender and times it when it is told to.

Every contender has a process of its own: one that dies takes nothing along, thread pools do not meet, peak memory is
its own, and the time until it has coded something is what its users wait. Requests come as JSON lines on stdin, answers
go as JSON lines to the descriptor that was stdout, which nothing else gets to write to.

The clock is read here, around the call and the wait for what the call has started, so what crosses the pipe costs
nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import (
    HasCodes,
    HasDescription,
    HasDeviceTime,
    HasStages,
    HasStream,
    HasWork,
    Settings,
)
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.workers.live import LIVE
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.audio.resampling import exactly, resample
from apcodec_deploy.errors import ApcodecError, BenchmarkError

LATE = 0.05
"""What a device still does after a call that says it is done, as a share of the call, beyond which it was not done."""
_KEPT = 2
"""Cases whose input is kept ready: a ceiling's two take turns."""
_FIRST_SECONDS = 1.0
_STREAM_BLOCK_SECONDS = 1.0


class Host:
    """Answers requests about one contender."""

    def __init__(self) -> None:
        self.subject: Any = None
        self._prepared: dict[Case, Callable[[], object]] = {}

    def open(self, *, entry: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Load the contender and let it code one second: what a user waits for."""
        entry_options = {**settings.pop("options"), **entry.pop("options")}
        made = Entry(**entry, options=entry_options)
        self.subject = made.make(Settings(**settings, options=entry_options))
        loaded = time.time()
        if not hasattr(self.subject, "facts"):
            return {"loaded": loaded, "first": loaded, "facts": None}
        self._call(Case(operation="encode", seconds=_FIRST_SECONDS))()
        self.subject.synchronize()
        return {"loaded": loaded, "first": time.time(), "facts": asdict(self.subject.facts)}

    def describe(self) -> dict[str, Any]:
        """Say all that is known of the contender; for that libraries may be loaded that it does not need itself."""
        subject = self.subject
        return {"facts": asdict(subject.describe() if isinstance(subject, HasDescription) else subject.facts)}

    def time(self, *, case: dict[str, Any], calls: int) -> dict[str, Any]:
        """Time some calls of a case: seconds of each, and what was still to do after each."""
        wanted = Case(**case)
        if wanted not in self._prepared:
            if len(self._prepared) == _KEPT:
                self._prepared.clear()
            self._prepared[wanted] = self._call(wanted)
        call = self._prepared[wanted]
        seconds, late = [], []
        for _ in range(calls):
            self.subject.synchronize()
            begun = time.perf_counter()
            found = call()
            if wanted.clock == "device":
                seconds.append(float(found))  # type: ignore[arg-type]
                late.append(0.0)
                continue
            returned = time.perf_counter()
            self.subject.synchronize()
            ended = time.perf_counter()
            seconds.append(ended - begun)
            # Whoever has the audio on the host has waited for it; what is still to do then is a mistake.
            late.append(ended - returned if wanted.copies and wanted.operation != "encode" else 0.0)
        return {"seconds": seconds, "late": late}

    def amount(self, *, operation: str) -> dict[str, Any]:
        """Of a ceiling: what one call computes or moves."""
        subject = self.subject
        return {"amount": subject.amount(operation), "size": subject.size(operation), "precision": subject.precision}

    def stages(self, *, seconds: float, calls: int, batch: int = 1) -> dict[str, Any]:
        """Time the stages of some round trips."""
        if not isinstance(self.subject, HasStages):
            return {"stages": {}}
        audio = self._clip(Case(operation="round_trip", seconds=seconds, batch=batch))
        times: dict[str, list[float]] = {}
        for _ in range(calls):
            begun = time.perf_counter()
            for name in self.subject.stages(audio):
                now = time.perf_counter()
                times.setdefault(name, []).append(now - begun)
                begun = time.perf_counter()
        return {"stages": times}

    def work(self, *, seconds: float) -> dict[str, Any]:
        """FLOP and least bytes by stage."""
        facts = self.subject.facts
        if not isinstance(self.subject, HasWork):
            return {"work": {}}
        counted = self.subject.work(_samples(seconds, facts.sample_rate))
        return {"work": {name: list(values) for name, values in counted.items()}}

    def memory(self, *, reset: bool) -> dict[str, Any]:
        """Peak bytes of this process since the last reset; then forget the peak, where the system can."""
        found = _peak_memory()
        if reset:
            _forget_peak()
        return {"memory": found}

    def convert(self, *, file: str, audio: str, codes: str) -> dict[str, Any]:
        """Pass a file through; what comes out goes to ``audio`` (.npy, at the file's rate), the codes to ``codes``."""
        with AudioReader(Path(file)) as reader:
            rate, blocks = reader.sample_rate, list(reader.blocks())
        original = np.concatenate(blocks, axis=1).mean(axis=0, dtype=np.float32)
        own_rate = self.subject.facts.sample_rate
        clip = np.concatenate(list(resample([original[None]], rate, own_rate)), axis=1)
        made = self.subject.encode(self.subject.upload(np.ascontiguousarray(clip)))
        decoded = self.subject.download(self.subject.decode(made), clip.shape[1])
        back = np.concatenate(list(exactly(resample([decoded], own_rate, rate), len(original))), axis=1)
        np.save(audio, np.stack((original, back[0])))
        bits = None
        if isinstance(self.subject, HasCodes):
            np.save(codes, self.subject.codes(made))
        if hasattr(self.subject, "bits"):
            bits = self.subject.bits(made)
        seconds = len(original) / rate
        return {
            "sample_rate": rate,
            "seconds": seconds,
            "bitrate": self.subject.facts.bitrate if bits is None else bits / seconds,
            "codes": isinstance(self.subject, HasCodes),
        }

    def close(self) -> dict[str, Any]:
        """Free the contender."""
        if self.subject is not None:
            self.subject.close()
        return {}

    def _call(self, case: Case) -> Callable[[], object]:
        """What is timed of a case: a function without arguments, all of its input made ready."""
        subject = self.subject
        if not hasattr(subject, "facts"):
            prepared: Callable[[], object] = subject.prepare(case)
            return prepared
        if case.operation == "stream":
            return self._stream(case)
        if case.operation in LIVE:
            return LIVE[case.operation](subject, case)
        audio = self._clip(case)
        samples = audio.shape[1]
        if case.clock == "device":
            if not isinstance(subject, HasDeviceTime):
                raise BenchmarkError("its device keeps no time of its own that could be read")
            return lambda: subject.device_seconds(case.operation, audio)
        if not (case.copies or subject.resident):
            raise BenchmarkError("its copies cannot be left out; what its device computes is told by the mode 'engine'")
        held = subject.upload(audio)
        if case.operation == "encode":
            return (lambda: subject.encode(subject.upload(audio))) if case.copies else (lambda: subject.encode(held))
        if case.operation == "decode":
            codes = subject.encode(held)
            if case.copies:
                return lambda: subject.download(subject.decode(codes), samples)
            return lambda: subject.decode(codes)
        if case.copies:
            return lambda: subject.download(subject.decode(subject.encode(subject.upload(audio))), samples)
        return lambda: subject.decode(subject.encode(held))

    def _stream(self, case: Case) -> Callable[[], object]:
        subject, rate = self.subject, self.subject.facts.sample_rate
        if not isinstance(subject, HasStream):
            raise BenchmarkError("it cannot stream")
        block = reference_signals(rate, _samples(_STREAM_BLOCK_SECONDS, rate))["speech"]

        def blocks() -> Iterator[NDArray[np.float32]]:
            left = _samples(case.seconds, rate)
            while left > 0:
                yield block[:left]
                left -= len(block)

        return lambda: subject.stream(blocks())

    def _clip(self, case: Case) -> NDArray[np.float32]:
        """Audio (B, N) of a case at the contender's rate, no shorter than one of its frames."""
        rate, frame = self.subject.facts.sample_rate, self.subject.facts.frame
        samples = max(_samples(case.seconds, rate), frame)
        if case.file is None:
            clip = reference_signals(rate, samples)["speech"]
        else:
            with AudioReader(Path(case.file)) as reader:
                mono = (block.mean(axis=0, keepdims=True, dtype=np.float32) for block in reader.blocks())
                found = resample(mono, reader.sample_rate, rate)
                clip = np.concatenate(list(exactly(found, samples)), axis=1)[0]
        return np.tile(clip, (case.batch, 1))


def _samples(seconds: float, rate: int) -> int:
    return max(1, round(seconds * rate))


def _peak_memory() -> int | None:
    """Peak resident bytes: of this process on Linux, where it can be forgotten; else since its start."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    host = Host()
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(host, request.pop("do"))(**request)
        except ApcodecError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": "there is not enough memory for this"}
        except Exception as error:  # a contender is foreign code; what it raises becomes its row's reason
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Keep stdout for answers; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
