"""The numbers of a model: what the runtime must know of it besides its graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from apcodec_deploy.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Rates, transform, codebooks and context of one model.

    Attributes:
        family: ``apcodec-grn`` (published 48 kHz code) or ``apcodec-layerscale`` (published 16 kHz code).
        sample_rate: Hz, of the audio that the model codes.
        n_fft: Points of the transform; it has ``n_fft // 2 + 1`` bins.
        win_size: Samples of the periodic Hann window, centred in ``n_fft``.
        hop_size: Samples between frames.
        ratio: Frames per latent.
        latent_dim: Channels of the latent.
        num_codebooks: Residual codebooks per latent.
        codebook_size: Entries of each codebook.
        encoder_context_frames: Frames on each side that one latent depends on, the transform's window included,
            global response normalisation excluded.
        decoder_context_frames: Frames on each side that one sample depends on, likewise.
        window_latents: Latents in a window of the default layout; see ``windows.py``.
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
    encoder_context_frames: int
    decoder_context_frames: int
    window_latents: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "family":
                continue
            if type(value) is not int or value < 1:
                raise BundleError(f"{field.name} is {value!r}; a positive integer is expected")
        if self.win_size % 2 or self.n_fft % 2:
            raise BundleError(f"win_size {self.win_size} and n_fft {self.n_fft} must both be even")
        if not 2 * self.hop_size <= self.win_size <= self.n_fft:
            raise BundleError(
                f"win_size is {self.win_size}; at least two hops of {self.hop_size} and at most n_fft "
                f"({self.n_fft}) are expected, or the inverse transform has gaps"
            )
        if not 2 <= self.codebook_size <= 1 << 15:
            raise BundleError(f"codebook_size is {self.codebook_size}; 2 to 32768 is expected")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Build a spec from JSON values; missing and unknown keys are an error that names them all."""
        expected = {field.name for field in fields(cls)}
        if missing := sorted(expected - values.keys()):
            raise BundleError(f"the model's numbers lack {', '.join(missing)}")
        if unknown := sorted(values.keys() - expected):
            raise BundleError(f"the model's numbers hold unknown keys: {', '.join(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return asdict(self)

    @property
    def bins(self) -> int:
        """Frequency bins of the transform."""
        return self.n_fft // 2 + 1

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
    def min_samples(self) -> int:
        """The shortest clip whose edges the transform can reflect; shorter ones are zero-extended to it."""
        blocks = -(-self.win_size // self.hop_size)
        return max(self.win_size // 2, blocks * self.hop_size - self.win_size // 2) + 1

    @property
    def context_latents(self) -> int:
        """Whole latents of context a window needs on each side, one more for the cross-fade between windows."""
        frames = max(self.encoder_context_frames, self.decoder_context_frames)
        return -(-frames // self.ratio) + 1

    def frames(self, samples: int) -> int:
        """Frames of the centred transform of a clip of ``samples``."""
        return samples // self.hop_size + 1

    def latents(self, samples: int) -> int:
        """Latents of a clip: ``ceil(frames / ratio)``, which equals ``samples // samples_per_latent + 1``."""
        return samples // self.samples_per_latent + 1

    def axes_of_audio(self, samples: int) -> dict[str, int]:
        """The dynamic axes of the encoding graphs for a clip of ``samples``."""
        return {"samples": samples, "frames": self.frames(samples), "latents": self.latents(samples)}

    def axes_of_codes(self, latents: int) -> dict[str, int]:
        """The dynamic axes of the decoding graphs for so many latents."""
        return {"latents": latents, "frames": latents * self.ratio, "samples": latents * self.samples_per_latent}

    def samples_range(self, latents: int) -> tuple[int, int]:
        """The shortest and the longest clip of so many latents that the transform takes."""
        longest = latents * self.samples_per_latent - 1
        return min(max(longest + 1 - self.samples_per_latent, self.min_samples), longest), longest
