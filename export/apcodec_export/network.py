"""The shape of a network: every width and kernel that a checkpoint can choose.

A published ``config.json`` names some of these numbers, leaves others to constants in the code, and can be wrong
(the 16 kHz config says 7 where its weights say 15). So what the weights' shapes tell is taken from the weights, and
the config gives what no shape can: rates, hop, window, ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from apcodec_deploy.errors import BundleError, CheckpointError
from apcodec_deploy.spec import ModelSpec

Shapes = Mapping[str, tuple[int, ...]]

DEFAULT_WINDOW_LATENTS = 400
"""2.67 s at 150 latents per second: see "Windows" in ARCHITECTURE.md for the sweep behind it."""


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
        odd = {name: value for name, value in asdict(self).items() if name.endswith("_kernel") and "up" not in name}
        problems += [
            f"{name} is {value}, but only an odd kernel keeps the length law latents = ceil(frames / ratio)"
            for name, value in odd.items()
            if value % 2 == 0
        ]
        for name in ("amp_up_kernel", "pha_up_kernel"):
            surplus = getattr(self, name) - self.ratio
            if surplus < 0 or surplus % 2:
                problems.append(
                    f"{name} is {getattr(self, name)} with ratio {self.ratio}, but the kernel must exceed the ratio "
                    "by an even number to give ratio x latents frames"
                )
            if surplus > 2 * self.ratio:
                problems.append(
                    f"{name} is {getattr(self, name)} with ratio {self.ratio}, but no more than {3 * self.ratio} is "
                    "supported: a frame would depend on both ends of a short clip"
                )
        if self.encoder_amp_channels % 2 or self.encoder_pha_channels % 2:
            problems.append("the encoder's channels must be even: each branch is halved before the latent")
        if not self.projections and self.codebook_dim != self.latent_dim:
            problems.append(
                f"codebooks of {self.codebook_dim} without projections cannot code {self.latent_dim} channels"
            )
        for branch in ("amp", "pha"):
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
        up_latents = -(-(surplus // 2) // self.ratio)
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


# Where each number stands: our name, the config key of the published code, its default there, the key of the state
# dict (encoder keys first) whose shape tells it, and the axis.
_SOURCES: tuple[tuple[str, str | None, int | None, str, int], ...] = (
    ("dim", "dim", 256, "encoder.embed_logamp.weight", 0),
    ("intermediate_dim", "intermediate_dim", 512, "encoder.convnext_logamp.0.pwconv1.weight", 0),
    ("embed_kernel", None, 7, "encoder.embed_logamp.weight", 2),
    ("depthwise_kernel", None, 7, "encoder.convnext_logamp.0.dwconv.weight", 2),
    ("encoder_amp_channels", "AMP_Encoder_channel", None, "encoder.out_logamp.weight", 0),
    ("encoder_pha_channels", "PHA_Encoder_channel", None, "encoder.out_pha.weight", 0),
    ("decoder_amp_channels", "AMP_Decoder_channel", None, "decoder.embed_logamp.weight", 1),
    ("decoder_pha_channels", "PHA_Decoder_channel", None, "decoder.embed_pha.weight", 1),
    (
        "amp_down_kernel",
        "AMP_Encoder_output_downconv_kernel_size",
        None,
        "encoder.AMP_Encoder_downsample_output_conv.weight_v",
        2,
    ),
    (
        "pha_down_kernel",
        "PHA_Encoder_output_downconv_kernel_size",
        None,
        "encoder.PHA_Encoder_downsample_output_conv.weight_v",
        2,
    ),
    (
        "amp_up_kernel",
        "AMP_Decoder_input_upconv_kernel_size",
        None,
        "decoder.AMP_Decoder_upsample_input_conv.weight_v",
        2,
    ),
    (
        "pha_up_kernel",
        "PHA_Decoder_input_upconv_kernel_size",
        None,
        "decoder.PHA_Decoder_upsample_input_conv.weight_v",
        2,
    ),
    (
        "latent_output_kernel",
        "latent_output_conv_kernel_size",
        None,
        "encoder.latent_output_conv.weight_v",
        2,
    ),
    ("latent_input_kernel", "latent_input_conv_kernel_size", None, "decoder.latent_input_conv.weight_v", 2),
    (
        "amp_output_kernel",
        "AMP_Decoder_output_conv_kernel_size",
        None,
        "decoder.AMP_Decoder_output_conv.weight_v",
        2,
    ),
    (
        "real_output_kernel",
        "PHA_Decoder_output_R_conv_kernel_size",
        None,
        "decoder.PHA_Decoder_output_R_conv.weight_v",
        2,
    ),
    (
        "imag_output_kernel",
        "PHA_Decoder_output_I_conv_kernel_size",
        None,
        "decoder.PHA_Decoder_output_I_conv.weight_v",
        2,
    ),
    ("latent_dim", "latent_dim", None, "encoder.latent_output_conv.weight_v", 0),
    ("codebook_size", None, 1024, "encoder.quantizer.quantizers.0.codebook.weight", 0),
    ("codebook_dim", None, None, "encoder.quantizer.quantizers.0.codebook.weight", 1),
)
_COUNTED = (
    ("num_layers", "num_layers", 8, "encoder.convnext_logamp."),
    ("num_codebooks", "n_codebooks", 4, "encoder.quantizer.quantizers."),
)
_REQUIRED = (
    ("sample_rate", "sampling_rate"),
    ("n_fft", "n_fft"),
    ("win_size", "win_size"),
    ("hop_size", "hop_size"),
    ("ratio", "ratio"),
)


def detect(config: Mapping[str, Any], shapes: Shapes) -> tuple[NetworkConfig, list[str]]:
    """Read a network's numbers off its weights and its published config.

    Args:
        config: ``config.json`` of the published code.
        shapes: Shape of every tensor, keys prefixed ``encoder.`` or ``decoder.``, weight norm as ``weight_g`` and
            ``weight_v``.

    Returns:
        The network, and a note for each config key that the weights overrule.

    Raises:
        CheckpointError: A number can be found in neither, or the numbers make no network that can be deployed.
    """
    if missing := [key for _, key in _REQUIRED if key not in config]:
        raise CheckpointError(f"the config lacks {', '.join(missing)}, which no weight can tell")
    numbers: dict[str, Any] = {name: config[key] for name, key in _REQUIRED}
    notes: list[str] = []
    unknown: list[str] = []
    for name, key, default, tensor, axis in _SOURCES:
        shape = shapes.get(tensor, ())
        stated = config.get(key, default) if key else default
        if axis < len(shape):
            numbers[name] = shape[axis]
            if key in config and stated != shape[axis]:
                notes.append(f"config.json says {key} = {stated}, the weights say {shape[axis]}: the weights are right")
        elif stated is not None:
            numbers[name] = stated
        else:
            unknown.append(f"{name} ({tensor} is missing{f' and so is {key}' if key else ''})")
    if unknown:
        raise CheckpointError("these numbers stand in neither weights nor config: " + ", ".join(unknown))
    for name, key, default, prefix in _COUNTED:
        stated, counted = config.get(key, default), _count(shapes, prefix)
        numbers[name] = counted or stated
        if counted and key in config and stated != counted:
            notes.append(f"config.json says {key} = {stated}, the weights say {counted}: the weights are right")
    has_grn = any(".grn." in key for key in shapes)
    numbers["block"] = "grn" if has_grn else "layer_scale"
    numbers["projections"] = any(".in_proj." in key for key in shapes)
    return NetworkConfig(**numbers), notes


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules stand below ``prefix``."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})
