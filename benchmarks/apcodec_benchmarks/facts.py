"""What a contender is, in the words of the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weights = Literal["trained", "random", "none"]
"""Of random weights speed counts and quality does not; a classical codec has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a contender is, as the results say it.

    Attributes:
        title: For people, like ``Encodec 24 kHz``.
        library: What runs it, with its version.
        sample_rate: Hz, of the audio that it codes.
        channels: Of the audio that it codes; mono input is repeated.
        bitrate: Bits per second of its codes, all channels together.
        frame: Samples that one column of codes stands for; no shorter clip is timed.
        latency: Seconds from a sound to its echo when it is coded live, computing not counted; None where that is not
            known.
        parameters: Of its networks; None where nobody can count them.
        weights: Where they come from.
        weights_hash: The first 16 hex digits of their SHA-256, or of the model's fingerprint.
        precision: What the networks compute in.
        device: ``cpu``, or the GPU's name.
        notes: What a reader of its row should know.
    """

    title: str
    library: str
    sample_rate: int
    channels: int = 1
    bitrate: float
    frame: int
    latency: float | None = None
    parameters: int | None = None
    weights: Weights
    weights_hash: str | None = None
    precision: str = "float32"
    device: str = "cpu"
    notes: tuple[str, ...] = ()
