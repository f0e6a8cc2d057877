"""Encoder and decoder, as published: two ConvNeXt branches each, for log-amplitude and phase.

The streamable family has the same layers with other frames around them (``Alignment``).

Shapes: B clips, F frequency bins, T frames, L latents, D latent channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apcodec_export.model.layers import (
    CAUSAL,
    CENTRED,
    LAYER_NORM_EPS,
    Alignment,
    ConvNeXtBlock,
    Convolution,
    WeightNormConv1d,
)
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
            kind=config.block,
            layer_scale=1 / config.num_layers,
        )
        for _ in range(config.num_layers)
    )


class _Layers:
    """Makes the weight-normed layers of a network, aligned as its family is."""

    def __init__(self, config: NetworkConfig) -> None:
        self.alignment: Alignment = CAUSAL if config.causal else CENTRED
        self.ratio = config.ratio

    def same(self, inputs: int, outputs: int, kernel: int) -> WeightNormConv1d:
        return WeightNormConv1d(inputs, outputs, kernel, padding=self.alignment.same(kernel))

    def down(self, inputs: int, outputs: int, kernel: int) -> WeightNormConv1d:
        return WeightNormConv1d(inputs, outputs, kernel, stride=self.ratio, padding=self.alignment.down(kernel))

    def up(self, inputs: int, outputs: int, kernel: int) -> WeightNormConv1d:
        padding = self.alignment.up(kernel, self.ratio)
        return WeightNormConv1d(inputs, outputs, kernel, stride=self.ratio, padding=padding, transposed=True)


Seen = dict[str, Tensor] | None
"""Where layers note what they give, (B, C, T) by name; for comparing networks with each other."""


def _note(seen: Seen, name: str, x: Tensor) -> Tensor:
    if seen is not None:
        seen[name] = x
    return x


def _branch(
    name: str,
    x: Tensor,
    seen: Seen,
    embed: nn.Module,
    norm: nn.Module,
    blocks: nn.ModuleList,
    final_norm: nn.Module,
    out: nn.Module,
) -> Tensor:
    """Run one backbone: (B, channels in, T) to (B, channels out, T)."""
    x = norm(_note(seen, f"{name}.input", embed(x)).transpose(1, 2)).transpose(1, 2)
    for index, block in enumerate(blocks):
        x = _note(seen, f"{name}.blocks.{index}", block(x))
    return out(final_norm(x.transpose(1, 2))).transpose(1, 2)  # type: ignore[no-any-return]


class _Backbones(nn.Module):
    """The two branches between input and output convolutions, which encoder and decoder name alike."""

    def __init__(self, config: NetworkConfig, amp_inputs: int, pha_inputs: int) -> None:
        super().__init__()
        dim, kernel = config.dim, config.embed_kernel
        around = (CAUSAL if config.causal else CENTRED).same(kernel)
        self.embed_logamp = Convolution(amp_inputs, dim, kernel, padding=around)
        self.embed_pha = Convolution(pha_inputs, dim, kernel, padding=around)
        self.norm_logamp = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.norm_pha = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.convnext_logamp = _blocks(config)
        self.convnext_pha = _blocks(config)
        self.final_layer_norm_logamp = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.final_layer_norm_pha = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        # The published decoder sizes these by the *encoder's* channels, too; it runs only where both agree.
        self.out_logamp = nn.Linear(dim, config.encoder_amp_channels)
        self.out_pha = nn.Linear(dim, config.encoder_pha_channels)

    def amplitude(self, x: Tensor, seen: Seen = None) -> Tensor:
        return _branch(
            "amplitude",
            x,
            seen,
            self.embed_logamp,
            self.norm_logamp,
            self.convnext_logamp,
            self.final_layer_norm_logamp,
            self.out_logamp,
        )

    def phase(self, x: Tensor, seen: Seen = None) -> Tensor:
        return _branch(
            "phase",
            x,
            seen,
            self.embed_pha,
            self.norm_pha,
            self.convnext_pha,
            self.final_layer_norm_pha,
            self.out_pha,
        )


class Encoder(_Backbones):
    """Log-amplitude and phase to latent: (B, F, T), (B, F, T) to (B, D, L). Holds the quantizer, as published."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, config.bins, config.bins)
        amp, pha, make = config.encoder_amp_channels, config.encoder_pha_channels, _Layers(config)
        self.AMP_Encoder_downsample_output_conv = make.down(amp, amp // 2, config.amp_down_kernel)
        self.PHA_Encoder_downsample_output_conv = make.down(pha, pha // 2, config.pha_down_kernel)
        self.latent_output_conv = make.same(amp // 2 + pha // 2, config.latent_dim, config.latent_output_kernel)
        self.quantizer = ResidualVectorQuantizer(config)

    def forward(self, logamp: Tensor, phase: Tensor, seen: Seen = None) -> Tensor:
        amp = self.AMP_Encoder_downsample_output_conv(self.amplitude(logamp, seen))
        pha = self.PHA_Encoder_downsample_output_conv(self.phase(phase, seen))
        down = _note(seen, "down", torch.cat((amp, pha), dim=1))
        return _note(seen, "latent", self.latent_output_conv(down))


class Decoder(_Backbones):
    """Latent to spectrum: (B, D, L) to real and imaginary parts (B, F, ratio x L).

    The published code writes ``exp(a) cos(atan2(i, r))``; here the direction is ``(r, i) / hypot(r, i)``, and (1, 0)
    where both are zero: the same numbers without atan2, cos and sin.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, config.decoder_amp_channels, config.decoder_pha_channels)
        amp, pha, make = config.decoder_amp_channels, config.decoder_pha_channels, _Layers(config)
        latent = amp // 2 + pha // 2
        self.latent_input_conv = make.same(config.latent_dim, latent, config.latent_input_kernel)
        self.AMP_Decoder_upsample_input_conv = make.up(latent, amp, config.amp_up_kernel)
        self.PHA_Decoder_upsample_input_conv = make.up(latent, pha, config.pha_up_kernel)
        self.AMP_Decoder_output_conv = make.same(amp, config.bins, config.amp_output_kernel)
        self.PHA_Decoder_output_R_conv = make.same(pha, config.bins, config.real_output_kernel)
        self.PHA_Decoder_output_I_conv = make.same(pha, config.bins, config.imag_output_kernel)

    def heads(self, latent: Tensor, seen: Seen = None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-amplitude and the pseudo real and imaginary parts of the phase, each (B, F, ratio x L)."""
        hidden = self.latent_input_conv(latent)
        amp = _note(seen, "amplitude.up", self.AMP_Decoder_upsample_input_conv(hidden))
        pha = _note(seen, "phase.up", self.PHA_Decoder_upsample_input_conv(hidden))
        logamp, pha = self.AMP_Decoder_output_conv(self.amplitude(amp, seen)), self.phase(pha, seen)
        r, i = self.PHA_Decoder_output_R_conv(pha), self.PHA_Decoder_output_I_conv(pha)
        return _note(seen, "head.logamp", logamp), _note(seen, "head.r", r), _note(seen, "head.i", i)

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
