"""The arithmetic of the published network, before anything is folded, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apcodec_export.network import NetworkConfig


def published_products(network: NetworkConfig, frames: int) -> dict[str, float]:
    """Count the convolutions and linears of encoder and decoder as they were published.

    Each is ``2 x channels in x channels out x kernel / groups`` FLOP per frame that it gives (a transposed convolution:
    that it takes), biases, normalisations, activations, transforms and the quantizer excluded.

    Args:
        network: Widths and kernels.
        frames: That the encoder takes, T; the decoder gives ``ratio x L`` with ``L = ceil(T / ratio)`` latents.

    Returns:
        FLOP of ``encoder`` and ``decoder``, one clip.
    """
    latents = -(-frames // network.ratio)
    # Published: the halves of both branches are joined before the latent, and the latent is widened to as many.
    joined = network.encoder_amp_channels // 2 + network.encoder_pha_channels // 2
    encoder = latents * _convolution(joined, network.latent_dim, network.latent_output_kernel)
    for channels, kernel in (
        (network.encoder_amp_channels, network.amp_down_kernel),
        (network.encoder_pha_channels, network.pha_down_kernel),
    ):
        encoder += frames * _backbone(network, network.bins, channels)
        encoder += latents * _convolution(channels, channels // 2, kernel)

    joined = network.decoder_amp_channels // 2 + network.decoder_pha_channels // 2
    decoder = latents * _convolution(network.latent_dim, joined, network.latent_input_kernel)
    for channels, up_kernel, heads in (
        (network.decoder_amp_channels, network.amp_up_kernel, (network.amp_output_kernel,)),
        (network.decoder_pha_channels, network.pha_up_kernel, (network.real_output_kernel, network.imag_output_kernel)),
    ):
        decoder += latents * _convolution(joined, channels, up_kernel)
        per_frame = _backbone(network, channels, channels)
        per_frame += sum(_convolution(channels, network.bins, kernel) for kernel in heads)
        decoder += latents * network.ratio * per_frame
    return {"encoder": float(encoder), "decoder": float(decoder)}


def _backbone(network: NetworkConfig, inputs: int, outputs: int) -> int:
    """FLOP per frame of one branch: embedding, ConvNeXt blocks, output linear."""
    block = 2 * network.dim * network.depthwise_kernel + 2 * _convolution(network.dim, network.intermediate_dim)
    embedding = _convolution(inputs, network.dim, network.embed_kernel)
    return embedding + network.num_layers * block + _convolution(network.dim, outputs)


def _convolution(inputs: int, outputs: int, kernel: int = 1) -> int:
    return 2 * inputs * outputs * kernel
