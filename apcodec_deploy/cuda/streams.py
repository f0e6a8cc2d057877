"""The three queues of work that overlap: copies in, computing, copies out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from apcodec_deploy.cuda.device import Device, Stream


@dataclass(slots=True)
class Streams:
    """The queues that all directions of a model share."""

    copy_in: Stream
    compute: Stream
    copy_out: Stream

    @classmethod
    def of(cls, device: Device) -> Streams:
        """Three new ones."""
        return cls(device.stream(), device.stream(), device.stream())

    def synchronize(self) -> None:
        """Wait until nothing is queued any more."""
        for stream in (self.copy_in, self.compute, self.copy_out):
            stream.synchronize()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Queue work inside: where that fails, what was queued comes to its end before anybody is told."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # what went wrong is on its way already
                self.synchronize()
            raise
