"""Encoder and decoder as they are deployed: the published network, folded and typed.

Shapes: B clips, F frequency bins, T frames, L latents, D latent channels, C channels. Inputs and outputs are float32
under every plan, and channel-major as the bundle's graphs are; everything between is (B, T, C).

What is folded, all of it exact: weight norm; a LayerNorm's scale and shift, GRN's shift and a layer scale into the
linear beside them; a branch's last linear into the convolution after it; the decoder's three convolutions from latents
to frames into one product, where that holds (``front``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.deployed.front import Types, front
from apcodec_export.deployed.layers import (
    Convolution,
    GlobalResponse,
    Linear,
    LinearConvolution,
    Normalization,
    Product,
)
from apcodec_export.deployed.precision import PrecisionPlan
from apcodec_export.model import layers as model
from apcodec_export.model.layers import ConvNeXtBlock, WeightNormConv1d
from apcodec_export.model.network import MAX_LOG_AMPLITUDE, Decoder, Encoder


def _below(types: Types, part: str) -> Types:
    """The types of the layers inside a part."""
    return lambda name: types(f"{part}.{name}")


def _convolution(layer: WeightNormConv1d | model.Convolution, dtype: torch.dtype) -> Convolution:
    stride, groups = layer.stride, getattr(layer, "groups", 1)
    stride = stride if isinstance(stride, int) else int(stride[0])
    assert layer.bias is not None
    return Convolution(layer.weight, layer.bias, dtype, stride=stride, padding=layer.around[0], groups=groups)


def _linear(layer: nn.Linear, dtype: torch.dtype, *, scale: Tensor, shift: Tensor) -> Linear:
    """A linear on ``scale x + shift``."""
    return Linear((layer.weight * scale).T, layer.bias + layer.weight @ shift, dtype)


class Block(nn.Module):
    """A ConvNeXt block, (B, T, C) to (B, T, C) of the stream's type."""

    def __init__(self, block: ConvNeXtBlock, types: Types) -> None:
        super().__init__()
        self.depthwise = _convolution(block.dwconv, types("depthwise"))
        self.norm = Normalization(block.norm, folded=True)
        self.expand = _linear(block.pwconv1, types("expand"), scale=block.norm.weight, shift=block.norm.bias)
        second = block.pwconv2
        if block.grn is not None:
            self.response: GlobalResponse | None = GlobalResponse(block.grn.gamma)
            shift = block.grn.beta.flatten()
            self.contract = _linear(second, types("contract"), scale=torch.ones_like(shift), shift=shift)
        else:
            assert block.gamma is not None
            self.response = None
            self.contract = Linear(block.gamma * second.weight.T, block.gamma * second.bias, types("contract"))

    def forward(self, x: Tensor, ones: Tensor) -> Tensor:
        y = self.expand(self.norm(self.depthwise(x)))
        y = F.gelu(y.to(self.norm.weight.dtype))
        if self.response is not None:
            y = self.response(y, ones)
        added: Tensor = self.contract(y)
        return x + added.to(x.dtype)


class Branch(nn.Module):
    """A backbone: what ``embed`` takes to what the convolutions after it take, (B, T, C)."""

    def __init__(
        self,
        embed: nn.Module,
        norm: nn.LayerNorm,
        blocks: nn.ModuleList,
        final_norm: nn.LayerNorm,
        out: nn.Module,
        types: Types,
    ) -> None:
        super().__init__()
        self.stream = types("stream")
        self.embed = embed
        self.norm = Normalization(norm, folded=False)
        self.blocks = nn.ModuleList(
            Block(block, _below(types, f"blocks.{index}"))
            for index, block in enumerate(blocks)
            if isinstance(block, ConvNeXtBlock)
        )
        self.final_norm = Normalization(final_norm, folded=True)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x))
        ones = x.new_ones(1, 1, x.shape[1])
        x = x.to(self.stream)
        for block in self.blocks:
            x = block(x, ones)
        y: Tensor = self.out(self.final_norm(x))
        return y


def _branch(
    network: Encoder | Decoder,
    name: str,
    embed: nn.Module,
    heads: dict[str, WeightNormConv1d],
    types: Types,
    *,
    fold: bool,
) -> tuple[list[Convolution], Branch]:
    """The convolutions after a backbone, and it; they take in its last linear unless they would multiply more for it.

    Args:
        network: Whose.
        name: ``amplitude`` or ``phase``.
        embed: What comes before its first normalisation.
        heads: What comes after its last linear, by name.
        types: The type of each layer of the network.
        fold: Whether the linear may become part of the heads at all.
    """
    norm, blocks, final_norm, out = (
        (network.norm_logamp, network.convnext_logamp, network.final_layer_norm_logamp, network.out_logamp)
        if name == "amplitude"
        else (network.norm_pha, network.convnext_pha, network.final_layer_norm_pha, network.out_pha)
    )
    linear = _linear(out, out.weight.dtype, scale=final_norm.weight, shift=final_norm.bias)
    after = {label: _convolution(layer, out.weight.dtype) for label, layer in heads.items()}
    if fold and out.in_features <= out.out_features:
        last: nn.Module = nn.Identity()
        made: list[Convolution] = [LinearConvolution(linear, layer, types(label)) for label, layer in after.items()]
    else:
        last, made = linear.to(types(f"{name}.out")), [layer.to(types(label)) for label, layer in after.items()]
    return made, Branch(embed, norm, blocks, final_norm, last, _below(types, name))


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
        (self.amplitude_down,), self.amplitude = _branch(
            encoder,
            "amplitude",
            _convolution(encoder.embed_logamp, types("amplitude.embed")),
            {"amplitude_down": encoder.AMP_Encoder_downsample_output_conv},
            types,
            fold=plan.folds_heads,
        )
        (self.phase_down,), self.phase = _branch(
            encoder,
            "phase",
            _convolution(encoder.embed_pha, types("phase.embed")),
            {"phase_down": encoder.PHA_Encoder_downsample_output_conv},
            types,
            fold=plan.folds_heads,
        )
        self.latent = _convolution(encoder.latent_output_conv, types("latent"))
        self.eval()

    def forward(self, logamp: Tensor, phase: Tensor) -> Tensor:
        amp = self.amplitude_down(self.amplitude(logamp.transpose(1, 2)))
        pha = self.phase_down(self.phase(phase.transpose(1, 2)))
        latent: Tensor = self.latent(torch.cat((amp, pha.to(amp.dtype)), dim=2))
        return latent.transpose(1, 2).to(logamp.dtype)


class DeployedDecoder(_Deployed):
    """Latent to spectrum: (B, D, L) to real and imaginary parts (B, F, ratio x L)."""

    part = "decoder"

    @torch.no_grad()
    def __init__(self, decoder: Decoder, plan: PrecisionPlan) -> None:
        super().__init__()
        types = _below(plan.dtype, self.part)
        latent, up = decoder.latent_input_conv, decoder.AMP_Decoder_upsample_input_conv
        (self.amplitude_head,), self.amplitude = _branch(
            decoder,
            "amplitude",
            front(latent, up, decoder.embed_logamp, _below(types, "amplitude.embed")),
            {"amplitude_head": decoder.AMP_Decoder_output_conv},
            types,
            fold=plan.folds_heads,
        )
        up = decoder.PHA_Decoder_upsample_input_conv
        (self.real_head, self.imag_head), self.phase = _branch(
            decoder,
            "phase",
            front(latent, up, decoder.embed_pha, _below(types, "phase.embed")),
            {"real_head": decoder.PHA_Decoder_output_R_conv, "imag_head": decoder.PHA_Decoder_output_I_conv},
            types,
            fold=plan.folds_heads,
        )
        self.eval()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        hidden = latent.transpose(1, 2)
        logamp, direction = self.amplitude_head(self.amplitude(hidden)), self.phase(hidden)
        # Products are time-major and the spectrum is channel-major; transposed here, each result moves once.
        amplitude = logamp.transpose(1, 2).to(latent.dtype).clamp(max=MAX_LOG_AMPLITUDE).exp()
        r, i = (head(direction).transpose(1, 2).to(latent.dtype) for head in (self.real_head, self.imag_head))
        length = (r * r + i * i).sqrt()
        # Where there is no direction it is that of the real axis. Added, because to pick costs runtimes a multiple.
        undirected = (length == 0).to(length.dtype)
        scale = amplitude / (length + undirected)
        return (r + undirected) * scale, i * scale
