"""A file that can be read anywhere, and how large it is."""

from __future__ import annotations

from typing import BinaryIO

from apcodec_deploy.errors import BitstreamError


class SeekableFile:
    """A file that is open for reading.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def read(self, position: int, size: int) -> bytes:
        """Exactly ``size`` bytes, or what the file has; a read may give fewer at a time.

        Raises:
            BitstreamError: The disk fails.
        """
        parts = []
        try:
            self._file.seek(position)
            while size > 0 and (part := self._file.read(size)):
                parts.append(part)
                size -= len(part)
        except OSError as error:
            raise BitstreamError(f"reading failed at byte {position}: {error.strerror or error}") from error
        return b"".join(parts)
