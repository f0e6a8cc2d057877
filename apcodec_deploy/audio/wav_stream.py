"""WAV to a pipe, while its samples are being made."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.containers.chunks import find_audio
from apcodec_deploy.audio.containers.source import FileSource
from apcodec_deploy.audio.writer import AudioFormat, Storage

_UNKNOWN = b"\xff\xff\xff\xff"


class WavStream:
    """A WAV whose length nobody knows yet: both sizes in its header are the largest there are, as ffmpeg writes them.

    Players read such a file until it ends. Every block leaves at once.
    """

    def __init__(self, file: BinaryIO, form: AudioFormat, sample_rate: int, channels: int) -> None:
        """Write the header.

        Args:
            file: Open for writing; nothing in it is sought.
            form: How samples are stored, in a WAV.
            sample_rate: Hz.
            channels: Channels.

        Raises:
            OutputError: The format does not take this rate or so many channels, or it cannot be written.
        """
        form.check(sample_rate, channels)
        self._file, self._form, self._rate = file, form, sample_rate
        self._storage = Storage(form, channels)
        empty = io.BytesIO()
        with soundfile.SoundFile(empty, "w", sample_rate, channels, form.subtype, format="WAV"):
            pass
        audio = find_audio(FileSource(empty), 0, "WAV")
        head = audio.head_for(int.from_bytes(_UNKNOWN))
        self._send(head[:4] + _UNKNOWN + head[8:])

    @property
    def clipped(self) -> int:
        """Samples so far that were beyond full scale and had to be cut to it."""
        return self._storage.clipped

    def write(self, audio: NDArray[np.float32]) -> None:
        """Send audio (C, n).

        Raises:
            AudioError: A sample is not finite, which no format could hold.
            OutputError: Nobody reads it, or the like.
        """
        samples, raw = self._storage.stored(audio), io.BytesIO()
        soundfile.write(raw, samples.T, self._rate, self._form.subtype, endian="LITTLE", format="RAW")
        self._send(raw.getvalue())

    def _send(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
