"""Windows of several clips, run together in batches of equal length.

Equal, because padding would change the statistics that the network normalises by: a clip's codes must never depend on
what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.windows import Window

Run = Callable[[NDArray[Any]], NDArray[Any]]


class Piece(NamedTuple):
    """A window of one of several clips.

    Attributes:
        clip: Which one.
        window: Where in it.
        items: (C, n) audio or (C, Q, n) codes; every channel is a row of a batch.
    """

    clip: int
    window: Window
    items: NDArray[Any]


def run_batches(pieces: Iterable[Piece], run: Run, limit: int) -> Iterator[tuple[Piece, NDArray[Any]]]:
    """Run pieces in batches; those of one clip come back in order.

    All windows of a clip have one length, so first in, first out per length keeps their order.

    Args:
        pieces: Taken one by one, as batches are filled.
        run: Rows in, rows out.
        limit: The most rows that ``run`` gets at a time.
    """
    waiting: dict[int, list[Piece]] = {}
    for piece in pieces:
        batch = waiting.setdefault(piece.items.shape[-1], [])
        batch.append(piece)
        if sum(len(each.items) for each in batch) >= limit:
            yield from _run_batch(waiting.pop(piece.items.shape[-1]), run, limit)
    for batch in waiting.values():
        yield from _run_batch(batch, run, limit)


def _run_batch(batch: list[Piece], run: Run, limit: int) -> Iterator[tuple[Piece, NDArray[Any]]]:
    rows = np.concatenate([piece.items for piece in batch])
    results = np.concatenate([run(rows[start : start + limit]) for start in range(0, len(rows), limit)])
    start = 0
    for piece in batch:
        yield piece, results[start : start + len(piece.items)]
        start += len(piece.items)
