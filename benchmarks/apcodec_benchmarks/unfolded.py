"""The published network as its owner would export it: the modules as they are, nothing folded, into a bundle.

The transforms are those of our own graphs: ``torch.stft`` does not export.

Shapes: B clips, D latent channels, Q codebooks, L latents, T frames, C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.graphs import Graph, graphs
from apcodec_export.model.layers import GRN_EPS, GlobalResponseNorm, WeightNormConv1d
from apcodec_export.model.quantizer import ResidualVectorQuantizer

Network = TypeVar("Network", bound=nn.Module)


def export_unfolded(
    checkpoint: Checkpoint, output: Path, *, name: str, progress: Callable[[str], None] = lambda step: None
) -> Bundle:
    """Write the graphs of ``unfolded_graphs`` as a bundle, for timing only.

    Raises:
        ExportError: A graph could not be made.
        OutputError: Something is in the way, or the directory cannot be written.
    """
    made = unfolded_graphs(checkpoint)
    return export_bundle(checkpoint, output, name=name, made=made, proven=False, progress=progress)


def unfolded_graphs(checkpoint: Checkpoint) -> dict[str, Graph]:
    """What the six graphs of a bundle compute, by the published modules.

    Raises:
        BenchmarkError: The model is streamable: nobody has published a form of it.
    """
    if checkpoint.network.causal:
        raise BenchmarkError("a streamable model has no plain export: no code of it was published to export")
    encoder, decoder = as_published(checkpoint.encoder), as_published(checkpoint.decoder)
    modules = {
        "encoder": encoder,
        "quantizer": _Search(encoder.quantizer),
        "dequantizer": _LookUp(encoder.quantizer),
        "decoder": decoder,
    }
    ours = graphs(checkpoint)
    return ours | {name: replace(ours[name], module=module.eval()) for name, module in modules.items()}


def as_published(network: Network) -> Network:
    """A copy with plain convolutions for those under weight norm, and GRN by norms, as its authors write it."""
    made = copy.deepcopy(network)
    for parent in list(made.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WeightNormConv1d):
                setattr(parent, name, _convolution(child))
            elif isinstance(child, GlobalResponseNorm):
                setattr(parent, name, _PublishedGrn(child))
    return made


def _convolution(layer: WeightNormConv1d) -> nn.Conv1d | nn.ConvTranspose1d:
    """The same convolution with its weight norm removed."""
    weight = layer.weight.detach()
    first, second, kernel = weight.shape
    made: nn.Conv1d | nn.ConvTranspose1d
    if layer.transposed:
        made = nn.ConvTranspose1d(first, second, kernel, stride=layer.stride, padding=layer.around[0])
    else:
        made = nn.Conv1d(second, first, kernel, stride=layer.stride, padding=layer.around[0])
    made.load_state_dict({"weight": weight, "bias": layer.bias.detach()})
    return made.requires_grad_(False)


class _PublishedGrn(nn.Module):
    """Global response normalisation of (B, T, C) by L2 norms over time."""

    def __init__(self, layer: GlobalResponseNorm) -> None:
        super().__init__()
        self.gamma, self.beta = layer.gamma, layer.beta

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.norm(x, p=2, dim=1, keepdim=True)
        scale = energy / (energy.mean(dim=-1, keepdim=True) + GRN_EPS)
        return self.gamma * (x * scale) + self.beta + x  # type: ignore[no-any-return]


class _Search(nn.Module):
    """Latent (B, D, L) to codes (B, Q, L) int32."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latent: Tensor) -> Tensor:
        return self.quantizer.encode(latent).to(torch.int32)


class _LookUp(nn.Module):
    """Codes (B, Q, L) int32 to the quantized latent (B, D, L)."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, codes: Tensor) -> Tensor:
        return self.quantizer.decode(codes)
