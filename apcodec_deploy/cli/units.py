"""Figures as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A length of time in the unit that fits: ``0.74 s``, ``19.4 s``, ``12.5 min``, ``3.4 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def times(factor: float) -> str:
    """``7.2 times``, ``160 times``."""
    return f"{factor:.1f} times" if factor < 99.95 else f"{factor:,.0f} times"


def size(count: int) -> str:
    """Bytes in the unit that fits: ``812 bytes``, ``9.1 kB``, ``1.06 MB``."""
    if count < 1000:
        return f"{count} bytes"
    scaled, unit = next(
        (count / scale, unit) for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= scale
    )
    return f"{scaled:.3g} {unit}" if scaled < 999.5 else f"{scaled:,.0f} {unit}"


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
