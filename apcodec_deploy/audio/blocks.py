"""Audio in blocks of one length, however it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def regrouped(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples (C, n) in blocks of ``size``; the last may be shorter, and none is empty."""
    held: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.shape[1]
        while count >= size:
            joined = held[0] if len(held) == 1 else np.concatenate(held, axis=1)
            yield np.ascontiguousarray(joined[:, :size])
            held, count = [joined[:, size:]], count - size
    if count:
        yield np.ascontiguousarray(np.concatenate(held, axis=1))
