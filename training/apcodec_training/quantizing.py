"""The quantizer while it learns: straight-through gradients, its two losses, and what becomes of unused entries.

Shapes: B clips, D latent channels, L latents, Q codebooks, K entries, C codebook channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from apcodec_export.model.quantizer import ResidualVectorQuantizer


@dataclass(frozen=True, slots=True)
class Quantized:
    """What came of a latent.

    Attributes:
        latent: (B, D, L), with the gradient passed straight through every codebook.
        codes: (B, Q, L).
        encoded: What each codebook was searched for, Q times (B, C, L), without gradients.
        codebook: Sum over codebooks of the mean squared distance of entries from what they code.
        commitment: The same number, with its gradient to the encoder.
    """

    latent: Tensor
    codes: Tensor
    encoded: tuple[Tensor, ...]
    codebook: Tensor
    commitment: Tensor


def quantize(quantizer: ResidualVectorQuantizer, latent: Tensor) -> Quantized:
    """Code a latent (B, D, L) for training, as the published ``quantize.py`` does."""
    residual, found, codes, searched = latent, torch.zeros_like(latent), [], []
    codebook = commitment = latent.new_zeros(())
    for stage in quantizer.stages:
        encoded = stage.project(residual)
        codes.append(stage.nearest(encoded))
        entries = stage.codebook(codes[-1]).transpose(1, 2)
        codebook = codebook + F.mse_loss(entries, encoded.detach())
        commitment = commitment + F.mse_loss(encoded, entries.detach())
        passed = stage.expand(encoded + (entries - encoded).detach())
        found, residual = found + passed, residual - passed
        searched.append(encoded.detach())
    return Quantized(found, torch.stack(codes, dim=1), tuple(searched), codebook, commitment)


class CodebookUsage:
    """How often entries are used, and for how long some were not.

    Attributes:
        idle: (Q, K), steps since each entry was used last.
        counts: (Q, K), uses since ``report``.
    """

    def __init__(self, quantizer: ResidualVectorQuantizer, device: torch.device) -> None:
        shape = (len(quantizer.stages), quantizer.stages[0].codebook.num_embeddings)
        self.idle = torch.zeros(shape, dtype=torch.int64, device=device)
        self.counts = torch.zeros(shape, dtype=torch.int64, device=device)

    def count(self, codes: Tensor) -> Tensor:
        """Uses (Q, K) of each entry in codes (B, Q, L)."""
        flat = codes.transpose(0, 1).flatten(1)
        return torch.zeros_like(self.counts).scatter_add_(1, flat, torch.ones_like(flat))

    def add(self, uses: Tensor) -> None:
        """Note the uses (Q, K) of a step."""
        self.counts += uses
        self.idle = torch.where(uses > 0, 0, self.idle + 1)

    def report(self) -> dict[str, list[float]]:
        """Share of entries in use, and perplexity, of each codebook since the last report."""
        share = (self.counts > 0).float().mean(dim=1)
        frequency = self.counts / self.counts.sum(dim=1, keepdim=True).clamp(min=1)
        perplexity = torch.special.entr(frequency).sum(dim=1).exp()
        self.counts.zero_()
        return {"usage": share.tolist(), "perplexity": perplexity.tolist()}


@torch.no_grad()
def revive(
    quantizer: ResidualVectorQuantizer,
    usage: CodebookUsage,
    encoded: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    *,
    after: int,
    random: torch.Generator,
) -> int:
    """Put entries that nothing has used for ``after`` steps where there is data, and forget their momentum.

    Args:
        quantizer: Whose codebooks.
        usage: Of them; revived entries count as just used.
        encoded: What each codebook was searched for in this step, Q times (B, C, L).
        optimiser: Of the codebooks.
        after: Steps.
        random: On the CPU, so that every device picks the same.

    Returns:
        How many entries were moved.
    """
    moved = 0
    for stage, idle, vectors in zip(quantizer.stages, usage.idle, encoded, strict=True):
        dead = (idle >= after).nonzero()[:, 0]
        if not len(dead):
            continue
        candidates = vectors.transpose(1, 2).flatten(0, 1)
        chosen = torch.randint(len(candidates), (len(dead),), generator=random).to(candidates.device)
        weight = stage.codebook.weight
        weight[dead] = candidates[chosen].to(weight.dtype)
        for name in ("exp_avg", "exp_avg_sq"):
            if name in (moments := optimiser.state.get(weight, {})):
                moments[name][dead] = 0
        idle[dead] = 0
        moved += len(dead)
    return moved
