"""The numbers of a model: what the runtime must know of it besides its graphs. ``families.py`` has the kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import ApcodecError, BundleError
from apcodec_deploy.signatures import GraphSignature
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout

WHOLE = "whole"
Layout = WindowLayout | StreamLayout
WindowLength = float | str | None
"""``"whole"``, seconds, or None for what is the model's (or the file's) own."""

State = tuple[NDArray[np.float32], ...]
"""What one stream carries from one call to the next, and all of it: a plain array for each ``StateTensor``."""


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One array of a stream's state: float32, zeros at the start. Graphs take it as (B, *shape) under its name."""

    name: str
    shape: tuple[int, ...]

    @property
    def after(self) -> str:
        """What graphs call it when they give it back."""
        return f"next_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(ABC):
    """Rates, transform, codebooks and lengths of one model.

    Attributes:
        family: One of ``FAMILIES``.
        sample_rate: Hz, of the audio that the model codes.
        n_fft: Points of the transform; it has ``n_fft // 2 + 1`` bins.
        win_size: Samples of the periodic Hann window, centred in ``n_fft``.
        hop_size: Samples between frames.
        ratio: Frames per latent.
        latent_dim: Channels of the latent.
        num_codebooks: Residual codebooks per latent.
        codebook_size: Entries of each codebook.
    """

    family: str
    sample_rate: int
    n_fft: int
    win_size: int
    hop_size: int
    ratio: int
    latent_dim: int
    num_codebooks: int
    codebook_size: int

    NOT_COUNTS: ClassVar[tuple[str, ...]] = ("family",)
    """Fields that are no positive integers."""
    centred: ClassVar[bool] = True
    """Whether a frame is centred on its sample, rather than ends with it."""
    engine_profile: ClassVar[str] = "low-latency"
    """What engines are built for where nothing else is asked for."""
    push_latents: ClassVar[int] = 0
    """The most latents by which live streams are expected to go on at a time; 0 where there are none."""
    networks_apart: ClassVar[bool] = True
    """Whether transforms and code search, which are float32 always, are other graphs than the networks."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in self.NOT_COUNTS and (type(value) is not int or value < 1):
                raise BundleError(f"{field.name} is {value!r}; a positive integer is expected")
        if not self.hop_size < self.win_size <= self.n_fft:
            raise BundleError(
                f"win_size is {self.win_size}; more than a hop of {self.hop_size} and at most n_fft ({self.n_fft}) are "
                "expected, or the inverse transform has gaps"
            )
        if not 2 <= self.codebook_size <= 1 << 15:
            raise BundleError(f"codebook_size is {self.codebook_size}; 2 to 32768 is expected")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields' values from JSON values."""
        return dict(values)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return asdict(self)

    @property
    def bins(self) -> int:
        """Frequency bins of the transform."""
        return self.n_fft // 2 + 1

    @property
    def lead(self) -> int:
        """Samples of a window before the one that its frame is centred on, where PyTorch puts it in ``n_fft``."""
        return self.n_fft // 2 - (self.n_fft - self.win_size) // 2

    @property
    def samples_per_latent(self) -> int:
        """Samples that one column of codes stands for."""
        return self.hop_size * self.ratio

    @property
    def latent_rate(self) -> float:
        """Latents per second."""
        return self.sample_rate / self.samples_per_latent

    @property
    def bits_per_code(self) -> int:
        """Bits that hold any code."""
        return (self.codebook_size - 1).bit_length()

    @property
    def bitrate(self) -> float:
        """Bits per second of one channel."""
        return self.latent_rate * self.num_codebooks * self.bits_per_code

    @property
    @abstractmethod
    def min_samples(self) -> int:
        """The shortest clip that the transform takes; shorter ones are zero-extended to it."""

    @abstractmethod
    def layout(self, window: WindowLength = None) -> Layout:
        """How a clip passes through the model: its windows, or one stream.

        Args:
            window: ``"whole"`` for one piece, seconds for windows of that length (context not counted), None for the
                model's own.

        Raises:
            ApcodecError: It is none of these, or the model has no windows.
        """

    @abstractmethod
    def passes(self, layout: Layout) -> bool:
        """Whether a clip can have passed through the model like that."""

    @abstractmethod
    def frames(self, samples: int) -> int:
        """Frames of the transform of a clip of ``samples``."""

    @abstractmethod
    def latents(self, samples: int) -> int:
        """Latents of a clip of ``samples``."""

    @abstractmethod
    def axes_of_audio(self, samples: int) -> dict[str, int]:
        """The dynamic axes of the encoding graphs for a clip of ``samples``."""

    @abstractmethod
    def axes_of_call(self, samples: int) -> dict[str, int]:
        """The dynamic axes of the encoding graphs for one call of a backend with so many samples."""

    @abstractmethod
    def samples_range(self, latents: int) -> tuple[int, int]:
        """The shortest and the longest clip of so many latents that the transform takes."""

    @abstractmethod
    def training_samples(self, latents: int) -> int:
        """Samples of a clip whose frames make up so many latents, with none of them beyond what the clip reaches."""

    @property
    @abstractmethod
    def chains(self) -> dict[str, tuple[str, ...]]:
        """The graphs that ``encode`` and ``decode`` run in turn."""

    @property
    @abstractmethod
    def graphs(self) -> dict[str, GraphSignature]:
        """What goes in and out of each graph, in the order in which audio passes them."""

    @property
    @abstractmethod
    def states(self) -> dict[str, tuple[StateTensor, ...]]:
        """What ``encode`` and ``decode`` carry from call to call; nothing where a piece is coded by itself."""

    def start(self, direction: str, rows: int) -> tuple[NDArray[np.float32], ...]:
        """The states of new streams as graphs take them, each array (rows, *shape): silence.

        Args:
            direction: ``encode`` or ``decode``.
            rows: How many streams.
        """
        return tuple(np.zeros((rows, *tensor.shape), np.float32) for tensor in self.states[direction])

    @property
    @abstractmethod
    def reduced(self) -> tuple[str, ...]:
        """The graphs that a reduced precision has of its own: those with the network in them."""

    @abstractmethod
    def call_range(self, latents: int) -> tuple[int, int]:
        """The fewest and the most samples of which one call of a backend makes so many latents."""

    def call_samples(self, latents: int) -> int:
        """The most samples of which one call of a backend makes so many latents."""
        return self.call_range(latents)[1]

    @property
    @abstractmethod
    def judged_latents(self) -> int:
        """Latents of a clip that the model is judged by: what it is given at once where it has windows."""

    def axes_of_codes(self, latents: int) -> dict[str, int]:
        """The dynamic axes of the decoding graphs for so many latents."""
        return {"latents": latents, "frames": latents * self.ratio, "samples": latents * self.samples_per_latent}


def seconds_of(window: WindowLength) -> float:
    """Seconds of a window that was asked for."""
    try:
        seconds = float(window)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < 24 * 3600:
        raise ApcodecError(
            f"a window of {window!r}; expected 'whole' or a number of seconds above 0, below 86400 (a day)"
        )
    return seconds
