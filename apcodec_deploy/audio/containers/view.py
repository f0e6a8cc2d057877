"""What libsndfile is shown of a file: those of its bytes that are one stream, as if they were a file."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from apcodec_deploy.audio.containers.source import Source

_ENDLESS = 1 << 50
"""The length of a view whose end is not known yet."""
_ROOM = 1 << 17
"""Bytes before that end which are there at once, since some kinds are looked at from behind, too."""


class View:
    """Pieces of a source, joined. They may be found one by one while it is read.

    Attributes:
        failure: What went wrong in a call from libsndfile, through which no exception finds its way.
    """

    def __init__(
        self,
        source: Source,
        pieces: Iterable[tuple[int, int]],
        *,
        head: bytes = b"",
        size: int | None = None,
        endless: bool = False,
    ) -> None:
        """Show pieces of a source.

        Args:
            source: Where they stand.
            pieces: First byte and size of each.
            head: Bytes to show in front of them.
            size: Bytes of all that, where it is known before the pieces are.
            endless: Never tell how long it is, so that libsndfile makes no guess from that.
        """
        self.failure: BaseException | None = None
        self.tail = b""
        """What libsndfile finds at the end as long as the real end is not known."""
        self._source = source
        self._pieces: Iterator[tuple[int, int]] = iter(pieces)
        self._head = head
        self._size = size
        self._endless = endless
        self._whole = self._far = False
        self._places: list[tuple[int, int]] = []  # of contiguous pieces: first byte and size in the source
        self._starts: list[int] = []  # where they stand here
        self._length = len(head)
        self._position = 0

    def drain(self) -> None:
        """Find all pieces that are left; from then on the real end is told."""
        while self._find():
            pass
        self._far = False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; its end is far away as long as it is not known."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def ready(self, least: int) -> int:
        """How many bytes from the position on can be read without waiting, once ``least`` can; fewer before the end.

        Raises:
            AudioError: What is found there is damaged.
        """
        while self._length < self._position + least and self._find():
            pass
        left = min(self._length, self._end) - self._position
        if left <= 0 or self._position < len(self._head):
            return max(left, 0)
        place, _ = self._place(self._position)
        return min(left, self._source.ready(place, min(least, left)))

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """As of any file, but that it never raises: an error is kept in ``failure``, and what has come is the end."""
        done = 0
        try:
            while done < len(buffer):
                part = self._read(len(buffer) - done)
                if not part:
                    break
                buffer[done : done + len(part)] = part
                done += len(part)
                self._position += len(part)
        except BaseException as error:
            self.failure = error
        return done

    @property
    def _end(self) -> int:
        if self._size is not None:
            return self._size
        if self._whole and not self._endless and not self._far:
            return self._length
        self._far = bool(self.tail)  # what has been looked for at a far end must not find that it has moved
        return _ENDLESS

    def _read(self, size: int) -> bytes:
        """Some bytes from the position on, at most ``size``."""
        at = self._position
        if at < len(self._head):
            return self._head[at : at + size]
        if at >= self._end:
            return b""
        if self._end == _ENDLESS and at >= _ENDLESS - _ROOM:
            return (bytes(_ROOM - len(self.tail)) + self.tail)[at - _ENDLESS + _ROOM :][:size]
        if self.failure is not None:
            return b""
        while at >= self._length:
            if not self._find():
                return b""
        place, length = self._place(at)
        return self._source.read(place, min(size, length))

    def _place(self, at: int) -> tuple[int, int]:
        """Where in the source a byte of a piece stands, and how many stand there without a break, from it on."""
        index = bisect_right(self._starts, at) - 1
        inside = at - self._starts[index]
        place, length = self._places[index]
        return place + inside, length - inside

    def _find(self) -> bool:
        """Find the next piece, if there is one."""
        piece = next(self._pieces, None)
        if piece is None:
            self._whole = True
            return False
        if self._places and sum(self._places[-1]) == piece[0]:
            self._places[-1] = (self._places[-1][0], self._places[-1][1] + piece[1])
        else:
            self._places.append(piece)
            self._starts.append(self._length)
        self._length += piece[1]
        return True
