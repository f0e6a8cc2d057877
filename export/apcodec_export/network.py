"""The shape of a network: every width and kernel that a checkpoint can choose."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from apcodec_deploy.audio.resampling import MIN_RATE
from apcodec_deploy.errors import BundleError, CheckpointError
from apcodec_deploy.families import StreamSpec, WindowedSpec
from apcodec_deploy.spec import ModelSpec, StateTensor

DEFAULT_WINDOW_LATENTS = 400
"""2.67 s at 150 latents per second: docs/decisions/0009-windows.md has the sweep behind it."""

_MAX_RATE = 655_350
"""Hz, of the FLAC files of a bundle's proof."""

_KERNELS_OF_FRAMES = ("embed_kernel", "depthwise_kernel", "amp_down_kernel", "pha_down_kernel")
_KERNELS_OF_LATENTS = ("latent_output_kernel", "latent_input_kernel")
_KERNELS_UP = {
    "amp_up_kernel": ("amp_output_kernel",),
    "pha_up_kernel": ("real_output_kernel", "imag_output_kernel"),
}
"""The transposed convolutions, each with the convolutions that end its branch."""

_KERNELS_OF_HISTORY = (
    *("embed_kernel", "depthwise_kernel", "latent_output_kernel", "latent_input_kernel"),
    *("amp_output_kernel", "real_output_kernel", "imag_output_kernel"),
)
"""The convolutions that see history in a causal network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Every number that defines an encoder, a quantizer and a decoder.

    Attributes:
        block: What follows the activation of a ConvNeXt block: ``grn`` (48 kHz code), ``layer_scale`` (16 kHz code) or
            ``affine`` (the streamable family, which is causal; see ``streamable``).
        projections: Whether each codebook has weight-normed 1x1 projections around it.
    """

    block: Literal["grn", "layer_scale", "affine"]
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
        if not MIN_RATE <= self.sample_rate <= _MAX_RATE:
            raise CheckpointError(
                f"sample_rate is {self.sample_rate}; {MIN_RATE} to {_MAX_RATE} Hz are expected, which FLAC can hold"
            )
        problems += self._not_streamable() if self.causal else self._broken_lengths()
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

    def _not_streamable(self) -> list[str]:
        """What keeps a causal network from being coded token by token with one length of history."""
        kernels = {name: getattr(self, name) for name in _KERNELS_OF_HISTORY}
        problems = []
        if len(set(kernels.values())) > 1:
            listing = ", ".join(f"{name} {value}" for name, value in kernels.items())
            problems.append(f"the convolutions of a streamable network have one kernel, these are of {listing}")
        for name, expected in (
            *((name, self.ratio) for name in ("amp_down_kernel", "pha_down_kernel")),
            *((name, 2 * self.ratio) for name in _KERNELS_UP),
        ):
            if getattr(self, name) != expected:
                problems.append(
                    f"{name} is {getattr(self, name)}, {expected} is expected with ratio {self.ratio}: a token has "
                    "its own frames, and hears itself and the one before"
                )
        return problems

    @property
    def causal(self) -> bool:
        """Whether no frame sees a later one."""
        return self.block == "affine"

    @property
    def context(self) -> int:
        """Frames of history that a convolution of a causal network sees."""
        return self.embed_kernel - 1

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
        return -(-((self.win_size + 1) // 2) // self.hop_size)

    def spec(self) -> ModelSpec:
        """The part of these numbers that the runtime needs."""
        common = {
            name: getattr(self, name)
            for name in (
                *("sample_rate", "n_fft", "win_size", "hop_size", "ratio"),
                *("latent_dim", "num_codebooks", "codebook_size"),
            )
        }
        if self.causal:
            return StreamSpec(
                family="apcodec-s",
                **common,
                context=self.context,
                encoder_state=self._encoder_state(),
                decoder_state=self._decoder_state(),
            )
        return WindowedSpec(
            family="apcodec-grn" if self.block == "grn" else "apcodec-layerscale",
            **common,
            encoder_context_frames=self.encoder_context_frames,
            decoder_context_frames=self.decoder_context_frames,
            window_latents=DEFAULT_WINDOW_LATENTS,
        )

    def _encoder_state(self) -> tuple[StateTensor, ...]:
        """What a causal encoder carries from token to token."""
        tail = StateTensor("audio_tail", (self.win_size - self.hop_size,))
        if not self.context:
            return (tail,)
        hidden = self.encoder_amp_channels // 2 + self.encoder_pha_channels // 2
        return (
            tail,
            StateTensor("frame_history", (self.context, 2 * self.bins + 2 * self.num_layers * self.dim)),
            StateTensor("latent_history", (self.context, hidden)),
        )

    def _decoder_state(self) -> tuple[StateTensor, ...]:
        """What a causal decoder carries from token to token."""
        overlap = StateTensor("overlap", (self.win_size - self.hop_size,))
        if not self.context:
            # What its feed-forward layers make of a token is one product, and one channel more says whether there is
            # a token before.
            return (StateTensor("latent_previous", (1, self.latent_dim + 1)), overlap)
        channels = self.decoder_amp_channels + self.decoder_pha_channels
        hidden = self.decoder_amp_channels // 2 + self.decoder_pha_channels // 2
        return (
            StateTensor("latent_history", (self.context, self.latent_dim)),
            StateTensor("up_previous", (1, hidden)),
            StateTensor("frame_history", (self.context, 2 * channels + 2 * self.num_layers * self.dim)),
            overlap,
        )


def streamable(network: NetworkConfig, context: int = 0) -> NetworkConfig:
    """The causal network of the same widths, depth, rates and codebooks: APCodec-S.

    Args:
        network: Any.
        context: Frames of history that every convolution sees; 0 is feed-forward, as in the paper.
    """
    down, up = ("amp_down_kernel", "pha_down_kernel"), _KERNELS_UP
    kernels = dict.fromkeys(_KERNELS_OF_HISTORY, context + 1)
    kernels |= dict.fromkeys(down, network.ratio) | dict.fromkeys(up, 2 * network.ratio)
    return replace(network, block="affine", **kernels)  # type: ignore[arg-type]


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
