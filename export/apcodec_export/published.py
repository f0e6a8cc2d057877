"""From the published files to a network's shape, and back.

A published ``config.json`` names some of these numbers, leaves others to constants in the code, and can be wrong
(the 16 kHz config says 7 where its weights say 15). So what the weights' shapes tell is taken from the weights, and
the config gives what no shape can: rates, hop, window, ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apcodec_deploy.errors import CheckpointError
from apcodec_export.network import NetworkConfig

Shapes = Mapping[str, tuple[int, ...]]

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
_BLOCKS = {"affine": ".affine.", "grn": ".grn."}
"""The families of blocks by what stands in keys of theirs only."""
_REQUIRED = (
    ("sample_rate", "sampling_rate"),
    ("n_fft", "n_fft"),
    ("win_size", "win_size"),
    ("hop_size", "hop_size"),
    ("ratio", "ratio"),
)

CONFIG_KEYS = frozenset(
    {key for _, key in _REQUIRED}
    | {key for _, key, *_ in _SOURCES if key is not None}
    | {key for _, key, *_ in _COUNTED if key is not None}
)
"""Every key of a published ``config.json`` that says something of the network."""


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
    numbers["block"] = next((block for block, part in _BLOCKS.items() if _any(shapes, part)), "layer_scale")
    numbers["projections"] = _any(shapes, ".in_proj.")
    return NetworkConfig(**numbers), notes


def _any(shapes: Shapes, part: str) -> bool:
    return any(part in key for key in shapes)


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules stand below ``prefix``."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def published_config(network: NetworkConfig) -> dict[str, Any]:
    """What a published ``config.json`` says of a network; ``detect`` makes the network of it again."""
    config = {key: getattr(network, name) for name, key in _REQUIRED}
    config |= {key: getattr(network, name) for name, key, *_ in _SOURCES if key is not None}
    return config | {key: getattr(network, name) for name, key, *_ in _COUNTED}
