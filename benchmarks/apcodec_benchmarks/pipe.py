"""End to end: how long after a token's samples are written its audio comes out of ``encode --live | decode``.

    samples at the pace of a microphone -> encode -> pipe -> decode -> when did which sample come out?

One process, this one, writes and reads, so one clock tells both.
"""

from __future__ import annotations

import bisect
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import ContenderError

_STARTED_TOKENS = 8
"""Written at once at the start: the first of them is heard when both processes have loaded the model."""
_WARM_UP_TOKENS = 50
_START_SECONDS = 120.0
_END_SECONDS = 10.0
_SAMPLE_BYTES = 2
_HEADER_BYTES = 44
_APCODEC = (sys.executable, "-m", "apcodec_deploy.cli.main")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """Two commands with a pipe between them: WAV with 16 bits in, WAV with 16 bits out.

    Attributes:
        encode: From audio to codes.
        decode: From codes to audio.
        sample_rate: Hz.
        unit: Samples of a token.
        tokens: How many are timed.
    """

    encode: Sequence[str]
    decode: Sequence[str]
    sample_rate: int
    unit: int
    tokens: int = 600


def commands(model: str, threads: int) -> tuple[list[str], list[str]]:
    """What a user would type: encode and decode, in float32, which needs no proof of a model that nobody trained."""
    options = ["--model", model, "--backend", "onnxruntime", "--precision", "float32", "--threads", str(threads)]
    encode, decode = ([*_APCODEC, command, "-", "-o", "-", *options] for command in ("encode", "decode"))
    return [*encode, "--live"], decode


def through(pipe: Pipe) -> list[float]:
    """Seconds from when a token's last sample was written until that sample came out, for one token after another.

    Raises:
        ContenderError: A command failed, or nothing came out.
    """
    samples = (pipe.tokens + _WARM_UP_TOKENS + _STARTED_TOKENS + 1) * pipe.unit
    speech = reference_signals(pipe.sample_rate, samples)["speech"]
    tokens = np.round(np.clip(speech, -1, 1) * 32767).astype("<i2").reshape(-1, pipe.unit)
    with _running(pipe) as (source, heard):
        try:
            written = _written(source, heard, tokens, pipe)
            source.close()
        except OSError as error:
            raise ContenderError(f"the pipe broke ({error}); {heard.last_words()}") from error
        first = _STARTED_TOKENS + _WARM_UP_TOKENS
        last = (first + pipe.tokens) * pipe.unit
        heard.wait(last, _END_SECONDS)
        return [heard.time_of((token + 1) * pipe.unit) - written[token] for token in range(first, first + pipe.tokens)]


def _written(source: IO[bytes], heard: _Heard, tokens: NDArray[np.int16], pipe: Pipe) -> list[float]:
    """Write all tokens, from the first that is heard on at the pace of a microphone; when each was."""
    written = []
    source.write(_header(pipe.sample_rate))
    for token in tokens[:_STARTED_TOKENS]:
        written.append(time.perf_counter())
        source.write(token.tobytes())
    heard.wait(1, _START_SECONDS)
    begun = time.perf_counter()
    for place, token in enumerate(tokens[_STARTED_TOKENS:], 1):
        time.sleep(max(0.0, begun + place * pipe.unit / pipe.sample_rate - time.perf_counter()))
        written.append(time.perf_counter())
        source.write(token.tobytes())
    return written


@dataclass(slots=True)
class _Heard:
    """How many samples had come out when."""

    said: IO[bytes]
    counts: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ended: bool = False
    news: threading.Condition = field(default_factory=threading.Condition)

    def listen(self, sound: IO[bytes]) -> None:
        """Read all that comes out."""
        count = -_HEADER_BYTES
        while block := os.read(sound.fileno(), 1 << 16):
            now, count = time.perf_counter(), count + len(block)
            with self.news:
                self.counts.append(count // _SAMPLE_BYTES)
                self.times.append(now)
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def wait(self, samples: int, seconds: float) -> None:
        """Until so many samples have come out."""
        with self.news:
            self.news.wait_for(lambda: self._has(samples) or self.ended, seconds)
            if not self._has(samples):
                raise ContenderError(f"{samples} samples did not come out; {self.last_words()}")

    def time_of(self, samples: int) -> float:
        """When so many had come out."""
        return self.times[bisect.bisect_left(self.counts, samples)]

    def last_words(self) -> str:
        """What the commands said last."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the commands said nothing"

    def _has(self, samples: int) -> bool:
        return bool(self.counts) and self.counts[-1] >= samples


@contextmanager
def _running(pipe: Pipe) -> Iterator[tuple[IO[bytes], _Heard]]:
    """Both commands, where to write to, and what is heard; they are gone afterwards."""
    with tempfile.TemporaryFile() as said:
        encode = subprocess.Popen(pipe.encode, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, bufsize=0)
        decode = subprocess.Popen(pipe.decode, stdin=encode.stdout, stdout=subprocess.PIPE, stderr=said)
        assert encode.stdin is not None and encode.stdout is not None and decode.stdout is not None
        encode.stdout.close()  # it is the decoder's now
        heard = _Heard(said)
        listener = threading.Thread(target=heard.listen, args=(decode.stdout,), daemon=True)
        listener.start()
        try:
            yield encode.stdin, heard
        finally:
            with suppress(OSError):
                encode.stdin.close()
            for process in (encode, decode):
                with suppress(OSError):
                    process.kill()
                process.wait()
            listener.join()
            decode.stdout.close()


def _header(sample_rate: int) -> bytes:
    """Of mono WAV with 16 bits that does not say how long it is, as ``arecord`` writes it to a pipe."""
    unknown = (0xFFFFFFFF).to_bytes(4, "little")
    form = np.array([1, 1], "<u2").tobytes() + np.array([sample_rate, _SAMPLE_BYTES * sample_rate], "<u4").tobytes()
    form += np.array([_SAMPLE_BYTES, 8 * _SAMPLE_BYTES], "<u2").tobytes()
    return b"RIFF" + unknown + b"WAVEfmt " + (16).to_bytes(4, "little") + form + b"data" + unknown
