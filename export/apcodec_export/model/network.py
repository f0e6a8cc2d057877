"""Encoder and decoder, as published: two ConvNeXt branches each, for log-amplitude and phase.

Shapes: B clips, F frequency bins, T frames, L latents, D latent channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apcodec_export.model.layers import LAYER_NORM_EPS, ConvNeXtBlock, WeightNormConv1d
from apcodec_export.model.quantizer import ResidualVectorQuantizer
from apcodec_export.network import NetworkConfig

MAX_LOG_AMPLITUDE = 15.0
"""Where the decoder's log-amplitude is cut. The published code takes exp() of whatever comes, which overflows for some
codes. A full-scale sine reaches ln(80) = 4.4, so this leaves 92 dB above it and keeps every code's audio finite."""


def _blocks(config: NetworkConfig) -> nn.ModuleList:
    return nn.ModuleList(
        ConvNeXtBlock(
            config.dim,
            config.intermediate_dim,
            kernel=config.depthwise_kernel,
            grn=config.block == "grn",
            layer_scale=1 / config.num_layers,
        )
        for _ in range(config.num_layers)
    )


def _same(inputs: int, outputs: int, kernel: int, stride: int = 1) -> WeightNormConv1d:
    return WeightNormConv1d(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2)


def _up(inputs: int, outputs: int, kernel: int, ratio: int) -> WeightNormConv1d:
    return WeightNormConv1d(inputs, outputs, kernel, stride=ratio, padding=(kernel - ratio) // 2, transposed=True)


def _branch(
    x: Tensor, embed: nn.Module, norm: nn.Module, blocks: nn.ModuleList, final_norm: nn.Module, out: nn.Module
) -> Tensor:
    """Run one backbone: (B, channels in, T) to (B, channels out, T)."""
    x = norm(embed(x).transpose(1, 2)).transpose(1, 2)
    for block in blocks:
        x = block(x)
    return out(final_norm(x.transpose(1, 2))).transpose(1, 2)  # type: ignore[no-any-return]


class _Backbones(nn.Module):
    """The two branches between input and output convolutions, which encoder and decoder name alike."""

    def __init__(self, config: NetworkConfig, amp_inputs: int, pha_inputs: int) -> None:
        super().__init__()
        dim, kernel = config.dim, config.embed_kernel
        self.embed_logamp = nn.Conv1d(amp_inputs, dim, kernel, padding=kernel // 2)
        self.embed_pha = nn.Conv1d(pha_inputs, dim, kernel, padding=kernel // 2)
        self.norm_logamp = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.norm_pha = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.convnext_logamp = _blocks(config)
        self.convnext_pha = _blocks(config)
        self.final_layer_norm_logamp = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.final_layer_norm_pha = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        # The published decoder sizes these by the *encoder's* channels, too; it runs only where both agree.
        self.out_logamp = nn.Linear(dim, config.encoder_amp_channels)
        self.out_pha = nn.Linear(dim, config.encoder_pha_channels)

    def amplitude(self, x: Tensor) -> Tensor:
        return _branch(
            x,
            self.embed_logamp,
            self.norm_logamp,
            self.convnext_logamp,
            self.final_layer_norm_logamp,
            self.out_logamp,
        )

    def phase(self, x: Tensor) -> Tensor:
        return _branch(x, self.embed_pha, self.norm_pha, self.convnext_pha, self.final_layer_norm_pha, self.out_pha)


class Encoder(_Backbones):
    """Log-amplitude and phase to latent: (B, F, T), (B, F, T) to (B, D, L). Holds the quantizer, as published."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, config.bins, config.bins)
        amp, pha, ratio = config.encoder_amp_channels, config.encoder_pha_channels, config.ratio
        self.AMP_Encoder_downsample_output_conv = _same(amp, amp // 2, config.amp_down_kernel, ratio)
        self.PHA_Encoder_downsample_output_conv = _same(pha, pha // 2, config.pha_down_kernel, ratio)
        self.latent_output_conv = _same(amp // 2 + pha // 2, config.latent_dim, config.latent_output_kernel)
        self.quantizer = ResidualVectorQuantizer(config)

    def forward(self, logamp: Tensor, phase: Tensor) -> Tensor:
        amp = self.AMP_Encoder_downsample_output_conv(self.amplitude(logamp))
        pha = self.PHA_Encoder_downsample_output_conv(self.phase(phase))
        return self.latent_output_conv(torch.cat((amp, pha), dim=1))  # type: ignore[no-any-return]


class Decoder(_Backbones):
    """Latent to spectrum: (B, D, L) to real and imaginary parts (B, F, ratio x L).

    The published code writes ``exp(a) cos(atan2(i, r))``; here the direction is ``(r, i) / hypot(r, i)``, and (1, 0)
    where both are zero: the same numbers without atan2, cos and sin.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, config.decoder_amp_channels, config.decoder_pha_channels)
        amp, pha, ratio = config.decoder_amp_channels, config.decoder_pha_channels, config.ratio
        latent = amp // 2 + pha // 2
        self.latent_input_conv = _same(config.latent_dim, latent, config.latent_input_kernel)
        self.AMP_Decoder_upsample_input_conv = _up(latent, amp, config.amp_up_kernel, ratio)
        self.PHA_Decoder_upsample_input_conv = _up(latent, pha, config.pha_up_kernel, ratio)
        self.AMP_Decoder_output_conv = _same(amp, config.bins, config.amp_output_kernel)
        self.PHA_Decoder_output_R_conv = _same(pha, config.bins, config.real_output_kernel)
        self.PHA_Decoder_output_I_conv = _same(pha, config.bins, config.imag_output_kernel)

    def heads(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-amplitude and the pseudo real and imaginary parts of the phase, each (B, F, ratio x L)."""
        hidden = self.latent_input_conv(latent)
        logamp = self.AMP_Decoder_output_conv(self.amplitude(self.AMP_Decoder_upsample_input_conv(hidden)))
        pha = self.phase(self.PHA_Decoder_upsample_input_conv(hidden))
        return logamp, self.PHA_Decoder_output_R_conv(pha), self.PHA_Decoder_output_I_conv(pha)

    @staticmethod
    def parts(logamp: Tensor, r: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts of what the heads say, each (B, F, ratio x L)."""
        amplitude = logamp.clamp(max=MAX_LOG_AMPLITUDE).exp()
        length = (r * r + i * i).sqrt()
        undirected = length == 0
        scale = amplitude / torch.where(undirected, torch.ones_like(length), length)
        return torch.where(undirected, amplitude, r * scale), i * scale

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        return self.parts(*self.heads(latent))
