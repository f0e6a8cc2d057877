"""Write audio files block by block."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.audio.channels import to_vorbis
from apcodec_deploy.audio.samples import SAMPLE_BYTES
from apcodec_deploy.errors import AudioError, OutputError

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
"""What can be written: the container and its usual subtype."""
_PCM_BITS = {kind: 8 * size for kind, size in SAMPLE_BYTES.items() if kind.startswith("PCM_")}
SUBTYPES = (*_PCM_BITS, "ULAW", "ALAW", "FLOAT", "DOUBLE", "VORBIS", "OPUS")
"""How samples can be stored, where the container allows. libsndfile knows more; some wrap around at full scale."""
_VORBIS_MAX_RATE, _VORBIS_MAX_CHANNELS = 200_000, 255
"""Beyond these, libsndfile's Vorbis encoder crashes the process."""
_RIFF_LIMIT = (1 << 32) - (1 << 16)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A container and how it holds samples.

    Attributes:
        name: ``wav``, ``flac`` or ``ogg``.
        subtype: libsndfile's name, such as ``PCM_16``, ``PCM_24``, ``FLOAT``, ``VORBIS``, ``OPUS``.
    """

    name: str
    subtype: str

    @classmethod
    def of(cls, name: str, subtype: str | None = None) -> AudioFormat:
        """The format of a name, with its usual subtype if none is given.

        Raises:
            AudioError: There is no such format, or it has no such subtype.
        """
        if name not in FORMATS:
            raise AudioError(f"no format is called {name!r}; there are: {', '.join(FORMATS)}")
        container, usual = FORMATS[name]
        chosen = (subtype or usual).upper()
        if chosen not in (possible := [kind for kind in SUBTYPES if soundfile.check_format(container, kind)]):
            raise AudioError(f"{name} has no subtype {chosen}; it has: {', '.join(possible)}")
        return cls(name, chosen)

    @property
    def suffix(self) -> str:
        """With its dot."""
        return f".{self.name}"

    @property
    def integer(self) -> bool:
        """Whether samples beyond full scale must be clipped."""
        return self.subtype in _PCM_BITS or self.subtype in ("ULAW", "ALAW")

    def check(self, sample_rate: int, channels: int) -> None:
        """Refuse what this format cannot hold, before anything is made to put into it.

        Raises:
            OutputError: It does not take this rate or so many channels.
        """
        if self.subtype == "VORBIS" and (sample_rate > _VORBIS_MAX_RATE or channels > _VORBIS_MAX_CHANNELS):
            reason = f"at most {_VORBIS_MAX_CHANNELS} channels and {_VORBIS_MAX_RATE} Hz"
        else:
            try:
                container = FORMATS[self.name][0]
                with soundfile.SoundFile(io.BytesIO(), "w", sample_rate, channels, self.subtype, format=container):
                    return
            except (soundfile.SoundFileError, ValueError) as error:
                reason = str(error).rsplit(": ", 1)[-1].rstrip(".")
        raise OutputError(
            f"{self.name} {self.subtype} cannot hold {channels} channels at {sample_rate} Hz ({reason}); "
            "choose another --to or --subtype"
        )

    def container(self, channels: int, samples: int) -> str:
        """libsndfile's container: RF64 where a WAV of this size would pass 4 GB."""
        size = samples * channels * SAMPLE_BYTES.get(self.subtype, 2)
        return "RF64" if self.name == "wav" and size > _RIFF_LIMIT else FORMATS[self.name][0]


class Storage:
    """Samples as a format stores them.

    Attributes:
        clipped: Samples so far that were beyond full scale and had to be cut to it.
    """

    def __init__(self, form: AudioFormat, channels: int) -> None:
        self.clipped = 0
        self._form = form
        self._order = to_vorbis(channels) if form.name == "ogg" else None

    def stored(self, audio: NDArray[np.float32]) -> NDArray[np.generic]:
        """Audio (C, n), channels in WAV's order, as libsndfile should get it.

        Raises:
            AudioError: A sample is not finite, which no format could hold.
        """
        if not np.isfinite(audio).all():
            raise AudioError("the decoder made a sample that is not finite; please report this model")
        if self._form.integer:
            self.clipped += int((np.abs(audio) > 1).sum())
        samples = audio if self._order is None else audio[self._order, :]
        if self._form.subtype in _PCM_BITS:
            return _integers(samples, _PCM_BITS[self._form.subtype])
        return np.clip(samples, -1, 1) if self._form.integer else samples


class AudioWriter:
    """An audio file, open for writing."""

    def __init__(self, path: Path, form: AudioFormat, sample_rate: int, channels: int, samples: int) -> None:
        """Create a file.

        Args:
            path: Where.
            form: How.
            sample_rate: Hz.
            channels: Channels.
            samples: Samples per channel to come.

        Raises:
            OutputError: The format does not take this rate or so many channels, or libsndfile fails.
            OSError: The file cannot be created.
        """
        self._storage = Storage(form, channels)
        self._block = sample_rate
        form.check(sample_rate, channels)
        container = form.container(channels, samples)
        try:
            self._file = soundfile.SoundFile(path, "w", sample_rate, channels, form.subtype, format=container)
        except soundfile.SoundFileError as error:
            path.open("wb").close()  # the system knows why, which libsndfile does not say
            raise OutputError(f"{path} cannot be written: {str(error).rsplit(': ', 1)[-1].rstrip('.')}") from error

    @property
    def clipped(self) -> int:
        """Samples so far that were beyond full scale and had to be cut to it."""
        return self._storage.clipped

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except soundfile.SoundFileError as failure:
            if error is None:  # what is still buffered is written only now
                raise OutputError(f"writing failed ({str(failure).rstrip('.')}); is the disk full?") from failure

    def write(self, audio: NDArray[np.float32]) -> None:
        """Append audio (C, n), channels in WAV's order.

        Raises:
            AudioError: A sample is not finite, which no format could hold.
            OutputError: The disk is full, or the like.
        """
        samples = self._storage.stored(audio)
        try:
            # libsndfile's Vorbis encoder keeps a whole write on its stack and crashes on long ones.
            for start in range(0, samples.shape[1], self._block):
                self._file.write(samples[:, start : start + self._block].T)
        except (soundfile.SoundFileError, OSError) as error:
            raise OutputError(f"writing failed ({str(error).rstrip('.')}); is the disk full?") from error


def _integers(audio: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Samples rounded to integers of so many bits, the inverse of reading them, in the top bits of 32.

    libsndfile would round down, which shifts everything by half a step.
    """
    scale = 1 << (bits - 1)
    rounded = np.clip(np.rint(audio.astype(np.float64) * scale), -scale, scale - 1)
    return (rounded.astype(np.int64) << (32 - bits)).astype(np.int32)
