"""How much of what stands in a file of chunks is audio, whatever its header says."""

from __future__ import annotations

import io
import struct
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

import soundfile

from apcodec_deploy.audio.containers import mpeg
from apcodec_deploy.audio.containers.chunks import Audio, after_chunks, find_audio
from apcodec_deploy.audio.containers.part import Part, RawForm
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import before_tags
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.audio.samples import SAMPLE_BYTES
from apcodec_deploy.errors import AudioError

_STREAMED = 0x7FFF0000
"""Sizes of 32 bits from here on are also what programs write that do not know the length yet."""
_WRAP = 1 << 32
_TOLD_BY = 1 << 16
"""Bytes of audio that are looked at where the header does not tell how samples stand in them."""
_PROBED = 256
"""Bytes of silence that libsndfile is shown behind a header, to learn what that says."""


def walk(source: Source, start: int, kind: str) -> Generator[Part, None, int]:
    """The audio of the file of chunks that begins at ``start``, and then where that file ends.

    A size that was never filled in, or ran over, is not believed: all up to the end of the file is audio then.

    Raises:
        AudioError: It was cut, or more follows than it declares and nothing tells whether that is audio.
    """
    extent = _Extent(source, find_audio(source, start, kind))
    if extent.audio.mpeg:
        yield from _frames(source, extent)
        return extent.end
    if source.size is None:
        part = extent.part(extent.pieces(), extent.audio.declared)
        yield part
        part.view.drain()
        return extent.end
    pieces = list(extent.pieces())
    held = sum(size for _, size in pieces)
    if held == extent.audio.declared and not extent.audio.loose:
        # libsndfile takes what follows the audio of a W64 for audio.
        stop = extent.audio.start + held if kind == "W64" else extent.end
        yield Part(View(source, [(start, stop - start)]))
    else:
        yield extent.part(pieces, held)
    return extent.end


def _frames(source: Source, extent: _Extent) -> Iterator[Part]:
    """The MP3 in a WAV, which libsndfile would read up to a length that its header guesses."""
    begin = mpeg.first_frame(source, extent.audio.start)
    if begin is None:
        raise AudioError("its header declares MPEG audio, and none follows")
    if source.size is not None:  # what is wrong around the frames is told before they are read
        deque(extent.pieces(), 0)
    yield from mpeg.walk(source, begin)
    if source.size is None:
        deque(extent.pieces(), 0)


class _Extent:
    """The bytes of one file's audio.

    Attributes:
        audio: What the file says of it.
        end: Where the file ends, once its pieces have been found.
    """

    def __init__(self, source: Source, audio: Audio) -> None:
        if audio.declared == 0 and after_chunks(source, audio, audio.start) is None:
            audio = replace(audio, declared=None)  # never filled in
        self.audio = audio
        self.end = audio.start
        self._source = source

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Where the audio stands."""
        source, start, declared = self._source, self.audio.start, self.audio.declared
        if declared is None:
            yield from self._all(start)
            return
        held = declared if source.size is None else max(0, min(declared, source.size - start))
        if held:
            yield start, held
        stop = start + declared
        if declared and not holds(source, stop - 1):
            self.end = source.reached
            if not self._streamed:
                raise AudioError(
                    f"the file is cut: it declares {declared} bytes of audio and holds {max(0, self.end - start)}"
                )
            return
        for more in self._wraps(stop):
            if (end := after_chunks(source, self.audio, stop + more)) is not None:
                self.end = end
                if more:
                    yield stop, more
                return
        if not self._streamed:
            raise AudioError(self._more(stop))
        yield from self._all(stop)

    @property
    def _narrow(self) -> bool:
        """Whether its size has only 32 bits."""
        return struct.calcsize(self.audio.size) == 4

    @property
    def _streamed(self) -> bool:
        """Whether the size can be one that stands for an unknown one."""
        return self._narrow and (self.audio.declared or 0) + self.audio.counted >= _STREAMED

    def _wraps(self, stop: int) -> Iterator[int]:
        """What a size of 32 bits may have lost: nothing, or so many times 4 GB."""
        yield 0
        if self._narrow and self._source.size is not None:
            yield from range(_WRAP, self._source.size - stop + 1, _WRAP)

    def _all(self, at: int) -> Iterator[tuple[int, int]]:
        """All from ``at`` to the end, but for tags there."""
        source = self._source
        if source.size is not None:
            self.end = source.size
            if (size := before_tags(source, at, source.size) - at) > 0:
                yield at, size
            return
        while size := source.ready(at, 1):
            yield at, size
            at += size
        self.end = at

    def _more(self, stop: int) -> str:
        size = self._source.size
        count = "more" if size is None else str(size - stop)
        return (
            f"its header declares {self.audio.declared} bytes of audio, and {count} bytes follow from byte {stop} on "
            f"that are neither chunks nor tags: {self._source.read(stop, 12)!r}; if they are audio (a recorder was "
            "killed), mend it with: sox --ignore-length FILE mended.wav; if not, cut them off"
        )

    def part(self, pieces: Iterable[tuple[int, int]], size: int | None) -> Part:
        """The audio in pieces of so many bytes, with what libsndfile has to know of it."""
        audio = self.audio
        try:
            with soundfile.SoundFile(io.BytesIO(audio.head_for(_PROBED) + bytes(_PROBED))) as probe:
                # The usual order of bytes is that in which the file's own numbers are written.
                endian = {"<": "LITTLE", ">": "BIG"}[audio.size[0]] if probe.endian == "FILE" else probe.endian
                form = RawForm(probe.samplerate, probe.channels, probe.subtype, endian)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = str(error).rsplit(": ", 1)[-1].rstrip(".")
            if self._source.size is None:
                reason += "; if the format stands behind the sound, read it from a file, not from a pipe"
            raise AudioError(f"its header cannot be read: {reason}") from error
        if audio.loose:
            self._check_loose()
            form = replace(form, subtype="PCM_32")
        if form.subtype in SAMPLE_BYTES:
            return Part(View(self._source, pieces), raw=form)
        if size is None or size > audio.most:
            raise AudioError(f"its {form.subtype} does not tell its own length; convert it to PCM first")
        head = audio.head_for(size)
        return Part(View(self._source, pieces, head=head, size=len(head) + size))

    def _check_loose(self) -> None:
        """Pass samples of 24 bits in 4 bytes only where their first byte is the empty one, which makes them 32 bits.

        Others keep them in the first three, as ALSA's arecord does. Both have the same header.

        Raises:
            AudioError: They are of the other sort, or too quiet to tell.
        """
        audio = self.audio
        data = self._source.read(audio.start, min(_TOLD_BY, audio.declared or _TOLD_BY))
        least, most = (data[::4], data[3::4]) if audio.size[0] == "<" else (data[3::4], data[::4])
        if any(least) or set(most) <= {0x00, 0xFF}:  # what only continues the sign
            raise AudioError(
                "its samples have 24 bits in 4 bytes each, and nothing says which three of them count; convert it to "
                "plain 24 or 32 bits, or record so: arecord -f S32_LE, or S24_3LE"
            )
