"""What ``apcodec doctor`` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        state: ``ok``, ``missing`` (optional, and not there) or ``broken``.
        detail: Versions, or what is wrong and the remedy.
        essential: Whether audio cannot be coded where it is broken.
    """

    subject: str
    state: str
    detail: str
    essential: bool = True
