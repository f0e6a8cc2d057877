"""Standard input, output and error that may be closed, full, or left by who read them: an error of ours each."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from apcodec_deploy.errors import AudioError, OutputError, ReaderGoneError

STDIN, STDOUT, STDERR = "standard input", "standard output", "standard error"


def guard_streams() -> None:
    """Let what goes wrong with a standard stream be an ``ApcodecError``; of standard error nobody could be told.

    Where one is closed its number is taken, so that no file that is opened later gets it, and with it what native
    libraries print.
    """
    _take_numbers()
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()))
    sys.stdout = _guarded(sys.stdout, STDOUT, tells=True)
    sys.stderr = _guarded(sys.stderr, STDERR, tells=False)


def flush_output() -> None:
    """Write what is still held back.

    Raises:
        OutputError: Standard output cannot be written.
        ReaderGoneError: It is a pipe that nobody reads any more.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def _take_numbers() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one


def _guarded(stream: Any, name: str, *, tells: bool) -> Any:
    """The same stream, with our errors; one that is no file is left as it is."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(_Output(None, name, tells=tells)), encoding="utf-8")
    binary = getattr(stream, "buffer", None)
    if binary is None:
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(getattr(binary, "raw", binary), name, tells=tells)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Output(io.RawIOBase):
    """A stream that fails once, and then takes everything: what is still held back must not fail again at exit."""

    def __init__(self, raw: io.RawIOBase | None, name: str, *, tells: bool) -> None:
        self._raw, self._name, self._tells = raw, name, tells
        self._failed = False

    def write(self, data: Any) -> int | None:
        if not self._failed:
            try:
                if self._raw is None:
                    raise OSError("it is closed")
                return self._raw.write(data)
            except OSError as error:
                self._failed = True
                if self._tells:
                    kind = ReaderGoneError if isinstance(error, BrokenPipeError) else OutputError
                    raise kind(f"{self._name} cannot be written: {error.strerror or error}") from None
        return memoryview(data).nbytes

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._raw is None:
            raise OutputError(f"{self._name} is closed")
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw is not None and self._raw.isatty()


class _ClosedInput(io.RawIOBase):
    """Standard input where there is none."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise AudioError(f"{STDIN} is closed")

    def fileno(self) -> int:
        raise AudioError(f"{STDIN} is closed")
