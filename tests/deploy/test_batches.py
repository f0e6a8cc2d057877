"""Batches: equal lengths only, order kept, every row once, never more than the limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.batches import Piece, run_batches
from apcodec_deploy.windows import Window


@given(
    clips=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)), max_size=8),
    limit=st.integers(1, 7),
)
def test_every_row_comes_back_to_its_piece_in_order(clips: list[tuple[int, int, int]], limit: int) -> None:
    """Clips of (length, channels, windows): the i-th window of a clip holds numbers that name it."""
    pieces = [
        Piece(clip, Window(index, index + 1, index, index + 1), np.full((channels, length), 100 * clip + index))
        for clip, (length, channels, windows) in enumerate(clips)
        for index in range(windows)
    ]
    seen: list[tuple[int, ...]] = []

    def run(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        seen.append(rows.shape)
        assert 0 < len(rows) <= limit
        return -rows

    results = list(run_batches(iter(pieces), run, limit))
    assert len(results) == len(pieces)
    assert sum(rows for rows, _ in seen) == sum(len(piece.items) for piece in pieces)
    for piece, result in results:
        np.testing.assert_array_equal(result, -piece.items)
    for clip in range(len(clips)):
        order = [piece.window.start for piece, _ in results if piece.clip == clip]
        assert order == sorted(order)


def test_pieces_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def pieces() -> Iterator[Piece]:
        for index in range(5):
            taken.append(index)
            yield Piece(0, Window(index, index + 1, index, index + 1), np.zeros((1, 3)))

    results = run_batches(pieces(), lambda rows: rows, 2)
    next(results)
    assert taken == [0, 1]
