"""The residual vector quantizer: as published, and folded into the two forms that are deployed.

Shapes: B clips, D latent channels, Q codebooks, K entries, L latents.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_export.model.layers import WeightNormConv1d
from apcodec_export.network import NetworkConfig


class VectorQuantizer(nn.Module):
    """One codebook: the nearest entry by cosine, projected in and out where the family has projections."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.in_proj = WeightNormConv1d(config.latent_dim, config.codebook_dim, 1) if config.projections else None
        self.out_proj = WeightNormConv1d(config.codebook_dim, config.latent_dim, 1) if config.projections else None
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)

    def project(self, residual: Tensor) -> Tensor:
        """What is searched for: a residual (B, D, L) in the codebook's own channels."""
        return self.in_proj(residual) if self.in_proj is not None else residual

    def nearest(self, projected: Tensor) -> Tensor:
        """Codes (B, L) of a projected residual; the lowest index wins a tie."""
        cosine = F.normalize(projected, dim=1).transpose(1, 2) @ F.normalize(self.codebook.weight, dim=1).T
        return cosine.argmax(dim=2)

    def expand(self, vectors: Tensor) -> Tensor:
        """Codebook vectors in the latent's channels (B, D, L)."""
        return self.out_proj(vectors) if self.out_proj is not None else vectors

    def search(self, residual: Tensor) -> Tensor:
        """Codes (B, L) of a residual (B, D, L)."""
        return self.nearest(self.project(residual))

    def dequantize(self, codes: Tensor) -> Tensor:
        """What codes (B, L) stand for: (B, D, L). The *raw* codebook vector, projected out with its bias."""
        return self.expand(self.codebook(codes).transpose(1, 2))


class ResidualVectorQuantizer(nn.Module):
    """Codebooks in turn, each coding what the ones before it left over."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(VectorQuantizer(config) for _ in range(config.num_codebooks))

    def encode(self, latent: Tensor) -> Tensor:
        """Codes (B, Q, L) int64 of a latent (B, D, L)."""
        codes = []
        for quantizer in self.stages:
            codes.append(quantizer.search(latent))
            latent = latent - quantizer.dequantize(codes[-1])
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """The quantized latent (B, D, L) of codes (B, Q, L)."""
        stages = enumerate(self.stages)
        return torch.stack([quantizer.dequantize(codes[:, q]) for q, quantizer in stages]).sum(dim=0)

    @property
    def stages(self) -> list[VectorQuantizer]:
        """The codebooks in turn."""
        return [module for module in self.quantizers if isinstance(module, VectorQuantizer)]

    @torch.no_grad()
    def tables(self) -> nn.ParameterList:
        """What every code stands for, Q times (K, D): codebook and output projection in one."""
        entries = torch.arange(self.stages[0].codebook.num_embeddings)[None]
        return _constants(stage.dequantize(entries)[0].T for stage in self.stages)

    @torch.no_grad()
    def scorers(self) -> tuple[nn.ParameterList, nn.ParameterList]:
        """Weights, Q times (D, K), and biases, Q times (K,), whose largest score is the nearest entry.

        Normalised codebook and input projection in one. The residual's own length scales every score alike, so it
        needs no normalising.
        """
        weights, biases = [], []
        for stage in self.stages:
            entries = F.normalize(stage.codebook.weight, dim=1)
            if stage.in_proj is None:
                weights.append(entries.T)
                biases.append(torch.zeros(len(entries)))
            else:
                weights.append((entries @ stage.in_proj.weight[:, :, 0]).T)
                biases.append(entries @ stage.in_proj.bias)
        return _constants(weights), _constants(biases)


def _constants(tensors: Iterable[Tensor]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(tensor.contiguous(), requires_grad=False) for tensor in tensors)


class FoldedSearch(nn.Module):
    """Latent (B, D, L) to codes (B, Q, L) int32: per codebook one product, one arg max, one look-up."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        self.weights, self.biases = quantizer.scorers()
        self.tables = quantizer.tables()

    def forward(self, latent: Tensor) -> Tensor:
        residual = latent.transpose(1, 2)
        codes = []
        for weight, bias, table in zip(self.weights, self.biases, self.tables, strict=True):
            code = (residual @ weight + bias).argmax(dim=2)
            codes.append(code)
            residual = residual - F.embedding(code, table)
        return torch.stack(codes, dim=1).to(torch.int32)


class FoldedTables(nn.Module):
    """Codes (B, Q, L) int32 to the quantized latent (B, D, L): per codebook one look-up."""

    def __init__(self, quantizer: ResidualVectorQuantizer) -> None:
        super().__init__()
        self.tables = quantizer.tables()

    def forward(self, codes: Tensor) -> Tensor:
        first, *rest = (F.embedding(codes[:, q], table) for q, table in enumerate(self.tables))
        return sum(rest, start=first).transpose(1, 2)
