"""Our side of the processes that hold contenders."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import Case
from apcodec_deploy.errors import ContenderError

_TIMEOUT_SECONDS = 1800.0
"""After this a contender that does not answer counts as hung."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker:
    """A process with one contender in it.

    Attributes:
        name: The contender's.
        facts: What it is; None for the ceiling.
        load_seconds: From the start of the process until the contender is loaded.
        first_seconds: From the start of the process until one second of audio has been coded.
    """

    def __init__(self, entry: Entry, settings: Settings, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        """Start it and load the contender.

        Raises:
            ContenderError: It cannot run here; why not is told.
        """
        self.name = entry.name
        self._timeout = timeout
        # What native code says goes to a file: it may be more than a pipe that nobody reads can hold.
        self._spoken = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        threads = {name: str(settings.threads) for name in _THREAD_VARIABLES}
        begun = time.time()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "apcodec_benchmarks.workers.host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._spoken,
            text=True,
            encoding="utf-8",
            env={**os.environ, **threads, "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            opened = self._ask("open", entry=asdict(entry), settings=asdict(settings))
        except BaseException:
            self.kill()
            raise
        self.facts = None if opened["facts"] is None else _facts(opened["facts"])
        self.load_seconds = opened["loaded"] - begun
        self.first_seconds = opened["first"] - begun

    @property
    def process_id(self) -> int:
        """Of the process."""
        return self._child.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def describe(self) -> Facts:
        """All that is known of the contender. Ask when its memory has been looked at: this takes some itself."""
        return _facts(self._ask("describe")["facts"])

    def time(self, case: Case, calls: int) -> tuple[list[float], list[float]]:
        """Seconds of some calls, and what was still to do after each of them."""
        answer = self._ask("time", case=asdict(case), calls=calls)
        return answer["seconds"], answer["late"]

    def amount(self, operation: str) -> tuple[float, str, str]:
        """Of the ceiling: what one call computes or moves, in words, and in what precision."""
        answer = self._ask("amount", operation=operation)
        return float(answer["amount"]), str(answer["size"]), str(answer["precision"])

    def stages(self, seconds: float, calls: int) -> dict[str, list[float]]:
        """Seconds of each stage of some round trips; nothing where it cannot be told."""
        stages: dict[str, list[float]] = self._ask("stages", seconds=seconds, calls=calls)["stages"]
        return stages

    def work(self, seconds: float) -> Mapping[str, tuple[float, float]]:
        """FLOP and least bytes by stage for a clip; nothing where it cannot be counted."""
        answer = self._ask("work", seconds=seconds)["work"]
        return {name: (float(flops), float(moved)) for name, (flops, moved) in answer.items()}

    def memory(self, *, reset: bool = False) -> int | None:
        """Peak bytes of its process; None where the system does not tell, or where it has died."""
        with suppress(ContenderError):
            found: int | None = self._ask("memory", reset=reset)["memory"]
            return found
        return None

    def convert(self, file: str, audio: str, codes: str) -> dict[str, Any]:
        """Pass a file through; see ``host.Host.convert``."""
        return self._ask("convert", file=file, audio=audio, codes=codes)

    def close(self) -> None:
        """Let it end, or end it."""
        with suppress(ContenderError):
            self._ask("close", timeout=10.0)
        self.kill()

    def kill(self) -> None:
        """End it, whatever it does."""
        with suppress(OSError):
            self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._spoken.close()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        with suppress(ValueError, OSError):  # closed under its hands when the process is killed
            for line in self._child.stdout:
                self._lines.put(line)
        self._lines.put("")

    def _ask(self, what: str, *, timeout: float | None = None, **values: Any) -> dict[str, Any]:
        assert self._child.stdin is not None
        with suppress(BrokenPipeError, OSError):  # it has died, which the missing answer tells
            self._child.stdin.write(json.dumps({"do": what, **values}) + "\n")
            self._child.stdin.flush()
        try:
            line = self._lines.get(timeout=timeout or self._timeout)
        except queue.Empty:
            raise ContenderError(f"it gave no answer for {timeout or self._timeout:g} s") from None
        if not line:
            self._lines.put("")  # it stays dead for whoever asks next
            raise ContenderError(f"its process ended with code {self._child.wait()}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._spoken.seek(0)
        lines = self._spoken.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _facts(values: dict[str, Any]) -> Facts:
    return Facts(**{**values, "notes": tuple(values["notes"])})
