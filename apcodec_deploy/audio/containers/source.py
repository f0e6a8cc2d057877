"""Bytes of a file or of a pipe, by where they stand."""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol

from apcodec_deploy.errors import AudioError

_BLOCK = 1 << 18
"""Bytes that are read of a file at once; headers stand close together."""
_KEPT = 1 << 20
"""Bytes that have passed through a pipe and are still at hand, for what looks back a little."""


class Source(Protocol):
    """Where bytes come from.

    Attributes:
        size: Bytes in all, each of which is at hand at any time; None in a pipe, where neither is so.
        reached: Bytes that have been seen to be there.
    """

    size: int | None

    @property
    def reached(self) -> int: ...

    def read(self, at: int, size: int) -> bytes:
        """Bytes from ``at`` on: ``size`` of them, or those until the end.

        Raises:
            AudioError: They have passed through a pipe too long ago.
        """
        ...

    def ready(self, at: int, least: int) -> int:
        """How many bytes from ``at`` on can be read without waiting, once ``least`` can; fewer only before the end."""
        ...


class FileSource:
    """A file; any part of it can be read at any time."""

    def __init__(self, raw: BinaryIO) -> None:
        """Read from a file that is open and stays the caller's."""
        self._raw = raw
        self.reached = raw.seek(0, os.SEEK_END)
        self.size: int | None = self.reached
        self._block, self._at = b"", 0

    def read(self, at: int, size: int) -> bytes:
        """See ``Source``."""
        if not self._at <= at <= at + size <= self._at + len(self._block):
            self._raw.seek(at)
            self._block, self._at = self._raw.read(max(size, _BLOCK)), at
        return self._block[at - self._at : at - self._at + size]

    def ready(self, at: int, least: int) -> int:
        """See ``Source``."""
        return max(0, self.reached - at)


class PipeSource:
    """A pipe; what has passed by further back than a megabyte is gone."""

    def __init__(self, descriptor: int) -> None:
        """Read from a descriptor that stays the caller's."""
        self._descriptor = descriptor
        self.size: int | None = None
        self._held, self._first, self._ended = bytearray(), 0, False

    @property
    def reached(self) -> int:
        """See ``Source``."""
        return self._first + len(self._held)

    def read(self, at: int, size: int) -> bytes:
        """See ``Source``."""
        self.ready(at, size)
        if at < self._first:
            raise AudioError("what has passed through the pipe would be needed again; save it to a file first")
        return bytes(self._held[at - self._first : at - self._first + size])

    def ready(self, at: int, least: int) -> int:
        """See ``Source``."""
        while not self._ended and self.reached < at + least:
            # Read here and not in libsndfile, so that a signal is heard while nothing comes.
            chunk = os.read(self._descriptor, 1 << 16)
            self._ended = not chunk
            self._held += chunk
            if len(self._held) > 2 * _KEPT:
                passed = min(len(self._held) - _KEPT, max(0, at - self._first))
                del self._held[:passed]
                self._first += passed
        return max(0, self.reached - at)


def holds(source: Source, at: int) -> bool:
    """Whether a byte stands at ``at``."""
    return at < source.size if source.size is not None else bool(source.read(at, 1))
