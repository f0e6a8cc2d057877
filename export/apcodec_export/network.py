"""The shape of a network: every width and kernel that a checkpoint can choose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from apcodec_deploy.errors import BundleError, CheckpointError
from apcodec_deploy.spec import ModelSpec

DEFAULT_WINDOW_LATENTS = 400
"""2.67 s at 150 latents per second: see "Windows" in ARCHITECTURE.md for the sweep behind it."""

_KERNELS_OF_FRAMES = ("embed_kernel", "depthwise_kernel", "amp_down_kernel", "pha_down_kernel")
_KERNELS_OF_LATENTS = ("latent_output_kernel", "latent_input_kernel")
_KERNELS_UP = {
    "amp_up_kernel": ("amp_output_kernel",),
    "pha_up_kernel": ("real_output_kernel", "imag_output_kernel"),
}
"""The transposed convolutions, each with the convolutions that end its branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Every number that defines an encoder, a quantizer and a decoder.

    Attributes:
        block: What follows the activation of a ConvNeXt block: ``grn`` (48 kHz code) or ``layer_scale`` (16 kHz code).
        projections: Whether each codebook has weight-normed 1x1 projections around it.
    """

    block: Literal["grn", "layer_scale"]
    projections: bool
    sample_rate: int
    n_fft: int
    win_size: int
    hop_size: int
    ratio: int
    dim: int
    intermediate_dim: int
    num_layers: int
    embed_kernel: int
    depthwise_kernel: int
    encoder_amp_channels: int
    encoder_pha_channels: int
    decoder_amp_channels: int
    decoder_pha_channels: int
    amp_down_kernel: int
    pha_down_kernel: int
    amp_up_kernel: int
    pha_up_kernel: int
    latent_output_kernel: int
    latent_input_kernel: int
    amp_output_kernel: int
    real_output_kernel: int
    imag_output_kernel: int
    latent_dim: int
    num_codebooks: int
    codebook_size: int
    codebook_dim: int

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value!r}, a positive integer is expected"
            for name, value in asdict(self).items()
            if name not in ("block", "projections") and (type(value) is not int or value < 1)
        ]
        if problems:
            raise CheckpointError("; ".join(problems))
        problems += self._broken_lengths()
        if not self.projections and self.codebook_dim != self.latent_dim:
            problems.append(
                f"codebooks of {self.codebook_dim} without projections cannot code {self.latent_dim} channels"
            )
        for branch in ("amp", "pha"):
            if getattr(self, f"encoder_{branch}_channels") < 2:
                problems.append(f"encoder_{branch}_channels is 1, but half of it must be left before the latent")
            encoder, decoder = getattr(self, f"encoder_{branch}_channels"), getattr(self, f"decoder_{branch}_channels")
            if encoder != decoder:
                problems.append(
                    f"the decoder's {branch} channels are {decoder} and the encoder's {encoder}, but the published "
                    "decoder uses both for one tensor: they must be equal"
                )
        try:
            self.spec()
        except BundleError as error:
            problems.append(str(error))
        if problems:
            raise CheckpointError("this network cannot be deployed: " + "; ".join(problems))

    def _broken_lengths(self) -> list[str]:
        """What breaks the length law: latents = ceil(frames / ratio), and ratio x latents frames of them.

        The published layers pad by half of what a kernel has beyond its stride, rounded down. So an even kernel of
        stride 1 gives a frame less than it takes, and a transposed one whose surplus over the ratio is odd gives a
        frame more. In a branch of the decoder these two may stand together.
        """
        problems = [
            f"{name} is {getattr(self, name)}, but only an odd kernel keeps the length law latents = "
            "ceil(frames / ratio)"
            for name in (*_KERNELS_OF_FRAMES, *_KERNELS_OF_LATENTS)
            if getattr(self, name) % 2 == 0
        ]
        for name, outputs in _KERNELS_UP.items():
            kernel = getattr(self, name)
            if kernel < self.ratio:
                problems.append(f"{name} is {kernel} with ratio {self.ratio}, but it must be at least the ratio")
                continue
            longer = (kernel - self.ratio) % 2
            unlike = {output: getattr(self, output) for output in outputs if getattr(self, output) % 2 == longer}
            problems += [
                f"{name} is {kernel} with ratio {self.ratio} and {output} is {value}, but together they must keep the "
                f"length law frames = ratio x latents: up by an {'odd' if longer else 'even'} number more than the "
                f"ratio goes with an output of an {'even' if longer else 'odd'} kernel"
                for output, value in unlike.items()
            ]
        return problems

    @property
    def bins(self) -> int:
        """Frequency bins."""
        return self.n_fft // 2 + 1

    @property
    def encoder_context_frames(self) -> int:
        """Frames on each side that one latent depends on, the transform's window included (published: 54 + 4)."""
        frames = self.embed_kernel // 2 + self.num_layers * (self.depthwise_kernel // 2)
        frames += max(self.amp_down_kernel, self.pha_down_kernel) // 2
        return frames + self.ratio * (self.latent_output_kernel // 2) + self._window_frames

    @property
    def decoder_context_frames(self) -> int:
        """Frames on each side that one sample depends on, the transform's window included (published: 62 + 4)."""
        surplus = max(self.amp_up_kernel, self.pha_up_kernel) - self.ratio
        up_latents = -(-surplus // (2 * self.ratio))
        frames = self.ratio * (self.latent_input_kernel // 2 + up_latents)
        frames += self.embed_kernel // 2 + self.num_layers * (self.depthwise_kernel // 2)
        frames += max(self.amp_output_kernel, self.real_output_kernel, self.imag_output_kernel) // 2
        return frames + self._window_frames

    @property
    def _window_frames(self) -> int:
        return -(-(self.win_size // 2) // self.hop_size)

    def spec(self) -> ModelSpec:
        """The part of these numbers that the runtime needs."""
        return ModelSpec(
            family="apcodec-grn" if self.block == "grn" else "apcodec-layerscale",
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            win_size=self.win_size,
            hop_size=self.hop_size,
            ratio=self.ratio,
            latent_dim=self.latent_dim,
            num_codebooks=self.num_codebooks,
            codebook_size=self.codebook_size,
            encoder_context_frames=self.encoder_context_frames,
            decoder_context_frames=self.decoder_context_frames,
            window_latents=DEFAULT_WINDOW_LATENTS,
        )


PUBLISHED_48K = NetworkConfig(
    block="grn",
    projections=True,
    sample_rate=48_000,
    n_fft=1024,
    win_size=320,
    hop_size=40,
    ratio=8,
    dim=256,
    intermediate_dim=512,
    num_layers=8,
    embed_kernel=7,
    depthwise_kernel=7,
    encoder_amp_channels=256,
    encoder_pha_channels=256,
    decoder_amp_channels=256,
    decoder_pha_channels=256,
    amp_down_kernel=7,
    pha_down_kernel=7,
    amp_up_kernel=16,
    pha_up_kernel=16,
    latent_output_kernel=7,
    latent_input_kernel=7,
    amp_output_kernel=7,
    real_output_kernel=7,
    imag_output_kernel=7,
    latent_dim=32,
    num_codebooks=4,
    codebook_size=1024,
    codebook_dim=32,
)
"""The published 48 kHz model at 6 kbps: 17.1 M parameters."""
