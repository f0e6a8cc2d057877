"""A causal codec as it is deployed: audio and state to codes and the next state, and back, folded and typed.

Shapes: B streams, N = L x unit samples, L latents, T = ratio x L frames, Q codebooks, C channels; all is (B, T, C).

What is folded, all of it exact: weight norm; a LayerNorm's scale and shift, and a block's own, into the linear beside
them; a branch's last linear into what follows, the real and the imaginary head into one product. Without history the
decoder's three layers from latents to frames are one product as well: a channel that is one says that there was a
latent before, so that silence before a stream has no bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.front import Types
from apcodec_export.deployed.history import HistoryConvolution, HistoryLinear, Past, Scale
from apcodec_export.deployed.layers import Linear, Normalization, Product
from apcodec_export.deployed.precision import PrecisionPlan
from apcodec_export.model.causal import CausalIstft, CausalStft, features
from apcodec_export.model.layers import ConvNeXtBlock, WeightNormConv1d
from apcodec_export.model.network import MAX_LOG_AMPLITUDE, Decoder, Encoder
from apcodec_export.model.quantizer import FoldedSearch, FoldedTables


def _below(types: Types, part: str) -> Types:
    return lambda name: types(f"{part}.{name}")


class StreamBlock(nn.Module):
    """A ConvNeXt block, (B, T, C) to (B, T, C) of the stream's type."""

    def __init__(self, block: ConvNeXtBlock, types: Types, stream: torch.dtype) -> None:
        super().__init__()
        assert block.affine is not None
        first, second, norm, affine = block.pwconv1, block.pwconv2, block.norm, block.affine
        self.depthwise: Scale | HistoryConvolution = (
            Scale(block.dwconv, stream)
            if block.dwconv.weight.shape[2] == 1
            else HistoryConvolution(block.dwconv, types("depthwise"))
        )
        self.norm = Normalization(norm, folded=True)
        self.expand = Linear((first.weight * norm.weight).T, first.bias + first.weight @ norm.bias, types("expand"))
        self.contract = Linear(
            (second.weight * affine.weight).T, second.bias + second.weight @ affine.bias, types("contract")
        )

    def forward(self, x: Tensor, past: Past) -> Tensor:
        y = self.expand(self.norm(self.depthwise.following(x, past)))
        added: Tensor = self.contract(F.gelu(y.to(self.norm.weight.dtype)))
        return x + added.to(x.dtype)


class StreamBranch(nn.Module):
    """A backbone between its input and its last normalisation, (B, T, C) to (B, T, C)."""

    def __init__(self, network: Encoder | Decoder, name: str, types: Types) -> None:
        super().__init__()
        norm, blocks, final_norm = (
            (network.norm_logamp, network.convnext_logamp, network.final_layer_norm_logamp)
            if name == "amplitude"
            else (network.norm_pha, network.convnext_pha, network.final_layer_norm_pha)
        )
        self.stream = types("stream")
        self.norm = Normalization(norm, folded=False)
        self.blocks = nn.ModuleList(
            StreamBlock(block, _below(types, f"blocks.{index}"), self.stream)
            for index, block in enumerate(blocks)
            if isinstance(block, ConvNeXtBlock)
        )
        self.final_norm = Normalization(final_norm, folded=True)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = self.norm(x).to(self.stream)
        for block in self.blocks:
            x = block(x, past)
        y: Tensor = self.final_norm(x)
        return y


def _last_linear(network: Encoder | Decoder, name: str, dtype: torch.dtype) -> Linear:
    """The linear after a branch, with the scale and shift of the normalisation before it."""
    norm, out = (
        (network.final_layer_norm_logamp, network.out_logamp)
        if name == "amplitude"
        else (network.final_layer_norm_pha, network.out_pha)
    )
    return Linear((out.weight * norm.weight).T, out.bias + out.weight @ norm.bias, dtype)


def _joined(first: Linear, second: Linear, dtype: torch.dtype) -> Linear:
    """Two linears, one after the other, as one."""
    return Linear(first.weight @ second.weight, first.bias @ second.weight + second.bias, dtype)


class _Stream(nn.Module):
    """What both directions share: their layers' names."""

    part: str

    def paths(self) -> list[str]:
        """Every path that a precision plan gives a type."""
        found = []
        for name, module in self.named_modules():
            if isinstance(module, StreamBranch):
                found.append(f"{self.part}.{name}.stream")
            elif isinstance(module, Product) and not isinstance(module, Scale):
                found.append(f"{self.part}.{name}")
        return found


class StreamEncoder(_Stream):
    """Audio (B, N) and the state of ``encode`` to codes (B, Q, L) int32 and the next state."""

    part = "encode"

    @torch.no_grad()
    def __init__(self, checkpoint: Checkpoint, plan: PrecisionPlan) -> None:
        super().__init__()
        network, encoder = checkpoint.network, checkpoint.encoder
        types = _below(plan.dtype, self.part)
        self.ratio, self.tail = network.ratio, network.win_size - network.hop_size
        self.stft = CausalStft(network.spec())
        self.amplitude_input = HistoryLinear(encoder.embed_logamp, types("amplitude_input"))
        self.phase_input = HistoryLinear(encoder.embed_pha, types("phase_input"))
        self.amplitude = StreamBranch(encoder, "amplitude", _below(types, "amplitude"))
        self.phase = StreamBranch(encoder, "phase", _below(types, "phase"))
        self.amplitude_down = self._down(
            encoder, "amplitude", encoder.AMP_Encoder_downsample_output_conv, types("amplitude_down")
        )
        self.phase_down = self._down(encoder, "phase", encoder.PHA_Encoder_downsample_output_conv, types("phase_down"))
        self.latent = HistoryLinear(encoder.latent_output_conv, types("latent"))
        self.search = FoldedSearch(encoder.quantizer)
        self.eval()

    def _down(self, encoder: Encoder, name: str, layer: WeightNormConv1d, dtype: torch.dtype) -> Linear:
        """A branch's last linear and its down-sampling, which takes the frames of a latent side by side."""
        last, weight = _last_linear(encoder, name, layer.weight.dtype), layer.weight.permute(2, 1, 0)
        taps = torch.cat([last.weight @ tap for tap in weight])
        return Linear(taps, layer.bias + sum(last.bias @ tap for tap in weight), dtype)

    def forward(self, audio: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        audio_tail, *history = state
        frames, latents = (Past(each) for each in (history or (None, None)))
        heard = torch.cat((audio_tail, audio), dim=1)
        logamp, phase = features(*self.stft.following(heard))
        amp = self.amplitude_input.following(logamp, frames)
        amp = self.amplitude_down(self._by_latents(self.amplitude(amp, frames)))
        pha = self.phase_input.following(phase, frames)
        pha = self.phase_down(self._by_latents(self.phase(pha, frames)))
        latent = self.latent.following(torch.cat((amp, pha.to(amp.dtype)), dim=2), latents)
        codes = self.search(latent.to(audio.dtype).transpose(1, 2))
        return codes, heard[:, -self.tail :], *frames.after, *latents.after

    def _by_latents(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1, self.ratio * x.shape[2])


class StreamDecoder(_Stream):
    """Codes (B, Q, L) int32 and the state of ``decode`` to audio (B, N) and the next state."""

    part = "decode"

    @torch.no_grad()
    def __init__(self, checkpoint: Checkpoint, plan: PrecisionPlan) -> None:
        super().__init__()
        network, decoder = checkpoint.network, checkpoint.decoder
        types = _below(plan.dtype, self.part)
        self.tables = FoldedTables(checkpoint.encoder.quantizer)
        front = HistoryFront if network.context else FeedForwardFront
        self.front: HistoryFront | FeedForwardFront = front(decoder, network.ratio, types)
        self.amplitude = StreamBranch(decoder, "amplitude", _below(types, "amplitude"))
        self.phase = StreamBranch(decoder, "phase", _below(types, "phase"))
        heads = HistoryHeads if network.context else FeedForwardHeads
        self.heads: HistoryHeads | FeedForwardHeads = heads(decoder, types)
        self.bins = network.bins
        self.istft = CausalIstft(network.spec())
        self.eval()

    def forward(self, codes: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        *before, overlap = state
        frames = Past(before.pop() if isinstance(self.front, HistoryFront) else None)
        latent = self.tables(codes).transpose(1, 2)
        amp, pha, after = self.front(latent, before, frames)
        amp, pha = self.amplitude(amp, frames), self.phase(pha, frames)
        logamp, direction = (head.to(latent.dtype) for head in self.heads(amp, pha, frames))
        amplitude = logamp.clamp(max=MAX_LOG_AMPLITUDE).exp()
        r, i = direction[:, :, : self.bins], direction[:, :, self.bins :]
        length = (r * r + i * i).sqrt()
        # Where there is no direction it is that of the real axis. Added, because to pick costs runtimes a multiple.
        undirected = (length == 0).to(length.dtype)
        scale = amplitude / (length + undirected)
        audio, overlap = self.istft.following((r + undirected) * scale, i * scale, overlap)
        return audio, *after, *frames.after, overlap


class FeedForwardFront(nn.Module):
    """Latents (B, L, D) to what the normalisations of both branches take, (B, T, C) each: one product a branch."""

    def __init__(self, decoder: Decoder, ratio: int, types: Types) -> None:
        super().__init__()
        self.ratio = ratio
        latent, amp, pha = (
            decoder.latent_input_conv,
            decoder.AMP_Decoder_upsample_input_conv,
            decoder.PHA_Decoder_upsample_input_conv,
        )
        self.amplitude = Linear(*self._folded(latent, amp, decoder.embed_logamp), types("front.amplitude"))
        self.phase = Linear(*self._folded(latent, pha, decoder.embed_pha), types("front.phase"))

    def _folded(self, latent: WeightNormConv1d, up: WeightNormConv1d, embed: nn.Conv1d) -> tuple[Tensor, Tensor]:
        """The product on [latent, one, latent before, whether there was one]."""
        assert embed.bias is not None
        out = embed.weight[:, :, 0].T
        into = torch.cat((latent.weight[:, :, 0].T, latent.bias[None]))  # (D + 1, hidden)
        taps = [into @ tap @ out for tap in up.weight.permute(2, 0, 1)]
        own, before = torch.cat(taps[: self.ratio], dim=1), torch.cat(taps[self.ratio :], dim=1)
        return torch.cat((own, before)), (up.bias @ out + embed.bias).repeat(self.ratio)

    def forward(self, latent: Tensor, state: list[Tensor], frames: Past) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        held = torch.cat((state[0], F.pad(latent, (0, 1), value=1.0)), dim=1)
        both = torch.cat((held[:, 1:], held[:, :-1]), dim=2)
        amp, pha = (layer(both) for layer in (self.amplitude, self.phase))
        shape = (latent.shape[0], -1, amp.shape[2] // self.ratio)
        return amp.reshape(shape), pha.reshape(shape), (held[:, -1:],)


class HistoryFront(nn.Module):
    """Latents (B, L, D) to what the normalisations of both branches take, where layers see history: in turn."""

    def __init__(self, decoder: Decoder, ratio: int, types: Types) -> None:
        super().__init__()
        self.ratio = ratio
        self.latent = HistoryLinear(decoder.latent_input_conv, types("front.latent"))
        self.amplitude_up = self._up(decoder.AMP_Decoder_upsample_input_conv, types("front.amplitude_up"))
        self.phase_up = self._up(decoder.PHA_Decoder_upsample_input_conv, types("front.phase_up"))
        self.amplitude = HistoryLinear(decoder.embed_logamp, types("front.amplitude"))
        self.phase = HistoryLinear(decoder.embed_pha, types("front.phase"))

    def _up(self, layer: WeightNormConv1d, dtype: torch.dtype) -> Linear:
        """A latent and the one before it to the frames of one latent, side by side."""
        taps = list(layer.weight.permute(2, 0, 1))
        own, before = torch.cat(taps[: self.ratio], dim=1), torch.cat(taps[self.ratio :], dim=1)
        return Linear(torch.cat((own, before)), layer.bias.repeat(self.ratio), dtype)

    def forward(self, latent: Tensor, state: list[Tensor], frames: Past) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        history, previous = state
        latents = Past(history)
        hidden = self.latent.following(latent, latents).to(latent.dtype)
        held = torch.cat((previous, hidden), dim=1)
        both = torch.cat((hidden, held[:, :-1]), dim=2)
        amp, pha = (
            y.reshape(latent.shape[0], -1, y.shape[2] // self.ratio)
            for y in (self.amplitude_up(both), self.phase_up(both))
        )
        amp, pha = self.amplitude.following(amp, frames), self.phase.following(pha, frames)
        return amp, pha, (*latents.after, held[:, -1:])


class FeedForwardHeads(nn.Module):
    """What branches give, (B, T, C) each, to log-amplitude (B, T, F) and direction (B, T, 2 F): one product each."""

    def __init__(self, decoder: Decoder, types: Types) -> None:
        super().__init__()
        self.amplitude = self._head(decoder, "amplitude", types, decoder.AMP_Decoder_output_conv)
        self.direction = self._head(
            decoder, "phase", types, decoder.PHA_Decoder_output_R_conv, decoder.PHA_Decoder_output_I_conv
        )

    @staticmethod
    def _head(decoder: Decoder, name: str, types: Types, *layers: WeightNormConv1d) -> Linear:
        head = HistoryLinear(layers[0], layers[0].weight.dtype, *layers[1:])
        label = "amplitude" if name == "amplitude" else "direction"
        return _joined(_last_linear(decoder, name, head.weight.dtype), head, types(f"heads.{label}"))

    def forward(self, amp: Tensor, pha: Tensor, frames: Past) -> tuple[Tensor, Tensor]:
        return self.amplitude(amp), self.direction(pha)


class HistoryHeads(nn.Module):
    """The same where the heads see history: zeros before a stream, so that the linears before them stay apart."""

    def __init__(self, decoder: Decoder, types: Types) -> None:
        super().__init__()
        self.amplitude_out = _last_linear(decoder, "amplitude", types("heads.amplitude_out"))
        self.phase_out = _last_linear(decoder, "phase", types("heads.phase_out"))
        self.amplitude = HistoryLinear(decoder.AMP_Decoder_output_conv, types("heads.amplitude"))
        self.direction = HistoryLinear(
            decoder.PHA_Decoder_output_R_conv, types("heads.direction"), decoder.PHA_Decoder_output_I_conv
        )

    def forward(self, amp: Tensor, pha: Tensor, frames: Past) -> tuple[Tensor, Tensor]:
        logamp = self.amplitude.following(self.amplitude_out(amp), frames)
        return logamp, self.direction.following(self.phase_out(pha), frames)
