"""The sound card, by way of PortAudio (package ``sounddevice``): what it hears, and what it plays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError, require

_EXTRA = "live"
DeviceName = str | int | None
"""A part of a device's name, its number, or None for the system's own choice."""


class Card(Protocol):
    """A sound card that is playing, and perhaps listening.

    Attributes:
        seconds: From a sound before the microphone to the program, and from there to the speaker.
        gaps: Times that it had nothing to play, or that what it heard was not fetched in time.
    """

    seconds: float
    gaps: int

    def heard(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n) that the microphone hears; waits for them."""

    def play(self, audio: NDArray[np.float32]) -> None:
        """Play audio (C, n) next; waits while there is enough to play."""


class PortAudioCard:
    """See ``Card``."""

    def __init__(self, stream: Any, *, listens: bool) -> None:
        self._stream, self.gaps = stream, 0
        self.seconds = float(sum(stream.latency)) if listens else float(stream.latency)

    def heard(self, samples: int) -> NDArray[np.float32]:
        audio, overflowed = self._stream.read(samples)
        self.gaps += bool(overflowed)
        return np.ascontiguousarray(audio.T)

    def play(self, audio: NDArray[np.float32]) -> None:
        if audio.shape[1]:
            self.gaps += bool(self._stream.write(np.ascontiguousarray(audio.T)))


@contextmanager
def open_card(
    sample_rate: int, channels: int, *, listens: bool, source: DeviceName = None, speaker: DeviceName = None
) -> Iterator[Card]:
    """Open the sound card; at the end, what was to be played is played first.

    Args:
        sample_rate: Hz.
        channels: C.
        listens: Whether the microphone is wanted, too; then latency is kept low.
        source: The microphone.
        speaker: What plays.

    Raises:
        AudioError: There is none, it cannot do that, or it was unplugged.
        MissingDependencyError: ``sounddevice`` or PortAudio is not installed.
    """
    portaudio = require("sounddevice", extra=_EXTRA)
    wanted: dict[str, Any] = {"samplerate": sample_rate, "channels": channels, "dtype": "float32"}
    try:
        if listens:
            stream = portaudio.Stream(**wanted, device=(source, speaker), latency="low")
        else:
            stream = portaudio.OutputStream(**wanted, device=speaker, latency="high")
        with stream:
            yield PortAudioCard(stream, listens=listens)
    except (portaudio.PortAudioError, ValueError) as error:
        raise AudioError(
            f"the sound card cannot be used with {sample_rate} Hz, {channels} channel{'s' * (channels > 1)}: {error}; "
            "--devices lists what is there"
        ) from error


def devices() -> str:
    """The sound devices of this machine, a line each.

    Raises:
        MissingDependencyError: ``sounddevice`` or PortAudio is not installed.
    """
    return str(require("sounddevice", extra=_EXTRA).query_devices()) or "there is no sound device"
