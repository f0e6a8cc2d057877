"""The order of channels: WAV's, which arrays and codes have here, and that of Ogg Vorbis and Opus."""

from __future__ import annotations

import numpy as np

# Vorbis I specification, section 4.3.9; RFC 7845, section 5.1.1.2. WAV's order is that of the bits of its channel mask.
_VORBIS = {
    3: ("FL", "FC", "FR"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
_WAV = ("FL", "FR", "FC", "LFE", "BL", "BR", "BC", "SL", "SR")


def from_vorbis(channels: int) -> tuple[int, ...] | None:
    """Where in Vorbis's order each channel of WAV's stands; None where both are the same, or nothing is fixed."""
    names = _VORBIS.get(channels)
    order = tuple(names.index(name) for name in _WAV if name in names) if names else tuple(range(channels))
    return None if order == tuple(range(channels)) else order


def to_vorbis(channels: int) -> tuple[int, ...] | None:
    """The inverse of ``from_vorbis``."""
    order = from_vorbis(channels)
    return None if order is None else tuple(int(place) for place in np.argsort(order))
