"""Encoder and decoder as they are deployed: the published network, folded and typed.

Shapes: B clips, F frequency bins, T frames, L latents, D latent channels. Inputs and outputs are float32 under every
plan.

What is folded, all of it exact: weight norm; a LayerNorm's scale and shift, GRN's shift and a layer scale into the
linear beside them; a transposed convolution into a plain one; the real and the imaginary head into one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.deployed.layers import (
    Convolution,
    GlobalResponse,
    Linear,
    Normalization,
    Product,
    Upsampling,
)
from apcodec_export.deployed.precision import PrecisionPlan
from apcodec_export.model.layers import ConvNeXtBlock, WeightNormConv1d
from apcodec_export.model.network import MAX_LOG_AMPLITUDE, Decoder, Encoder

Types = Callable[[str], torch.dtype]
"""The type of a layer by its name; ``_below`` gives that of the layers inside a part."""


def _below(types: Types, part: str) -> Types:
    return lambda name: types(f"{part}.{name}")


def _convolution(layer: WeightNormConv1d | nn.Conv1d, dtype: torch.dtype) -> Convolution:
    stride, padding, groups = layer.stride, layer.padding, getattr(layer, "groups", 1)
    stride, padding = (value if isinstance(value, int) else int(value[0]) for value in (stride, padding))
    assert layer.bias is not None
    return Convolution(layer.weight, layer.bias, dtype, stride=stride, padding=padding, groups=groups)


def _linear(layer: nn.Linear, dtype: torch.dtype, *, scale: Tensor, shift: Tensor) -> Linear:
    """A linear on ``scale x + shift``."""
    return Linear((layer.weight * scale).T, layer.bias + layer.weight @ shift, dtype)


class Block(nn.Module):
    """A ConvNeXt block, (B, C, T) to (B, C, T) of the stream's type."""

    def __init__(self, block: ConvNeXtBlock, types: Types) -> None:
        super().__init__()
        self.depthwise = _convolution(block.dwconv, types("depthwise"))
        self.norm = Normalization(block.norm, folded=True)
        self.expand = _linear(block.pwconv1, types("expand"), scale=block.norm.weight, shift=block.norm.bias)
        second = block.pwconv2
        if block.grn is not None:
            self.response: nn.Module = GlobalResponse(block.grn.gamma)
            shift = block.grn.beta.flatten()
            self.contract = _linear(second, types("contract"), scale=torch.ones_like(shift), shift=shift)
        else:
            assert block.gamma is not None
            self.response = nn.Identity()
            self.contract = Linear(block.gamma * second.weight.T, block.gamma * second.bias, types("contract"))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.expand(y)
        y = self.response(F.gelu(y.to(self.norm.weight.dtype)))
        added: Tensor = self.contract(y)
        return x + added.transpose(1, 2).to(x.dtype)


class Branch(nn.Module):
    """A backbone: what comes in at frame rate, (B, C in, T) to (B, C out, T)."""

    def __init__(
        self,
        embed: nn.Conv1d,
        norm: nn.LayerNorm,
        blocks: nn.ModuleList,
        final_norm: nn.LayerNorm,
        out: nn.Linear,
        types: Types,
    ) -> None:
        super().__init__()
        self.stream = types("stream")
        self.embed = _convolution(embed, types("embed"))
        self.norm = Normalization(norm, folded=False)
        self.blocks = nn.ModuleList(
            Block(block, _below(types, f"blocks.{index}"))
            for index, block in enumerate(blocks)
            if isinstance(block, ConvNeXtBlock)
        )
        self.final_norm = Normalization(final_norm, folded=True)
        self.out = _linear(out, types("out"), scale=final_norm.weight, shift=final_norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        x = x.to(self.stream)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.out(self.final_norm(x.transpose(1, 2)))
        return y.transpose(1, 2)


def _branches(network: Encoder | Decoder, types: Types) -> tuple[Branch, Branch]:
    """The amplitude's and the phase's backbone."""
    amplitude = Branch(
        network.embed_logamp,
        network.norm_logamp,
        network.convnext_logamp,
        network.final_layer_norm_logamp,
        network.out_logamp,
        _below(types, "amplitude"),
    )
    phase = Branch(
        network.embed_pha,
        network.norm_pha,
        network.convnext_pha,
        network.final_layer_norm_pha,
        network.out_pha,
        _below(types, "phase"),
    )
    return amplitude, phase


class _Deployed(nn.Module):
    """What encoder and decoder share: their layers' names."""

    part: str

    def paths(self) -> list[str]:
        """Every path that a precision plan gives a type."""
        found = []
        for name, module in self.named_modules():
            if isinstance(module, Branch):
                found.append(f"{self.part}.{name}.stream")
            elif isinstance(module, Product):
                found.append(f"{self.part}.{name}")
        return found


class DeployedEncoder(_Deployed):
    """Log-amplitude and phase to latent: (B, F, T), (B, F, T) to (B, D, L)."""

    part = "encoder"

    @torch.no_grad()
    def __init__(self, encoder: Encoder, plan: PrecisionPlan) -> None:
        super().__init__()
        types = _below(plan.dtype, self.part)
        self.amplitude, self.phase = _branches(encoder, types)
        self.amplitude_down = _convolution(encoder.AMP_Encoder_downsample_output_conv, types("amplitude_down"))
        self.phase_down = _convolution(encoder.PHA_Encoder_downsample_output_conv, types("phase_down"))
        self.latent = _convolution(encoder.latent_output_conv, types("latent"))
        self.eval()

    def forward(self, logamp: Tensor, phase: Tensor) -> Tensor:
        amp, pha = self.amplitude_down(self.amplitude(logamp)), self.phase_down(self.phase(phase))
        latent: Tensor = self.latent(torch.cat((amp, pha.to(amp.dtype)), dim=1))
        return latent.to(logamp.dtype)


class DeployedDecoder(_Deployed):
    """Latent to spectrum: (B, D, L) to real and imaginary parts (B, F, ratio x L)."""

    part = "decoder"

    @torch.no_grad()
    def __init__(self, decoder: Decoder, plan: PrecisionPlan) -> None:
        super().__init__()
        types = _below(plan.dtype, self.part)
        self.latent = _convolution(decoder.latent_input_conv, types("latent"))
        up = {
            name: Upsampling(layer.weight, layer.bias, types(name), ratio=layer.stride)
            for name, layer in (
                ("amplitude_up", decoder.AMP_Decoder_upsample_input_conv),
                ("phase_up", decoder.PHA_Decoder_upsample_input_conv),
            )
        }
        self.amplitude_up, self.phase_up = up["amplitude_up"], up["phase_up"]
        self.amplitude, self.phase = _branches(decoder, types)
        self.amplitude_head = _convolution(decoder.AMP_Decoder_output_conv, types("amplitude_head"))
        self.phase_head = _joined(
            decoder.PHA_Decoder_output_R_conv, decoder.PHA_Decoder_output_I_conv, types("phase_head")
        )
        self.eval()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.latent(latent)
        logamp: Tensor = self.amplitude_head(self.amplitude(self.amplitude_up(hidden)))
        direction: Tensor = self.phase_head(self.phase(self.phase_up(hidden)))
        amplitude = logamp.to(latent.dtype).clamp(max=MAX_LOG_AMPLITUDE).exp()
        r, i = direction.to(latent.dtype).chunk(2, dim=1)
        length = (r * r + i * i).sqrt()
        undirected = length == 0
        scale = amplitude / torch.where(undirected, torch.ones_like(length), length)
        return torch.where(undirected, amplitude, r * scale), i * scale


def _joined(first: WeightNormConv1d, second: WeightNormConv1d, dtype: torch.dtype) -> Convolution:
    """Two convolutions of one input as one, the shorter kernel continued with zeros."""
    longest = max(layer.weight.shape[2] for layer in (first, second))
    weights = [F.pad(layer.weight, ((longest - layer.weight.shape[2]) // 2,) * 2) for layer in (first, second)]
    return Convolution(torch.cat(weights), torch.cat((first.bias, second.bias)), dtype, padding=longest // 2)
