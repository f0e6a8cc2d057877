"""The hinge game between generator and discriminators, and feature matching (published ``models.py``)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from apcodec_training.discriminators import Judgement

Families = tuple[list[Judgement], list[Judgement]]
"""Judgements of the multi-period and of the multi-resolution discriminators; a family may be empty."""
_NAMES = ("period", "resolution")


def discriminator_losses(original: Families, decoded: Families) -> dict[str, Tensor]:
    """What the discriminators minimise: scores of at least 1 for originals and of at most -1 for what was decoded."""
    return {
        f"{name}_discriminator": _sum(
            F.relu(1 - true[-1].float()).mean() + F.relu(1 + false[-1].float()).mean()
            for true, false in zip(originals, decodeds, strict=True)
        )
        for name, originals, decodeds in zip(_NAMES, original, decoded, strict=True)
        if originals
    }


def adversarial_losses(original: Families, decoded: Families) -> dict[str, Tensor]:
    """What the generator minimises: that scores are at least 1, and that all layers see what they see in originals.

    Args:
        original: Judgements of originals, without gradients.
        decoded: Judgements of what was decoded.
    """
    found: dict[str, Tensor] = {}
    for name, originals, decodeds in zip(_NAMES, original, decoded, strict=True):
        if not originals:
            continue
        found[f"{name}_adversarial"] = _sum(F.relu(1 - judged[-1].float()).mean() for judged in decodeds)
        found[f"{name}_features"] = _sum(
            F.l1_loss(mine.float(), true.float())
            for trues, judged in zip(originals, decodeds, strict=True)
            for true, mine in zip(trues, judged, strict=True)
        )
    return found


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
