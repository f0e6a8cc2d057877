"""The search for the most streams: it finds what fits, nearly, in few steps, and asks for nothing absurd."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apcodec_benchmarks.capacity import Search


def tried(search: Search, capacity: int) -> list[int]:
    """What a search asks for on a machine of that capacity."""
    found = []
    while (sessions := search.next()) is not None:
        found.append(sessions)
        search.tell(sessions, fitted=sessions <= capacity)
    return found


@given(st.integers(0, 5000), st.integers(1, 4096))
def test_it_ends_near_the_capacity_and_never_above_it(capacity: int, most: int) -> None:
    search = Search(most)
    steps = tried(search, capacity)
    reachable = min(capacity, most)
    assert search.fits <= reachable
    assert reachable - search.fits <= max(0, 0.1 * search.fits)
    assert max(steps) <= most
    assert len(set(steps)) == len(steps) <= 2 + reachable.bit_length() + 4


def test_it_doubles_and_then_bisects() -> None:
    search = Search(4096)
    assert tried(search, 11) == [1, 2, 4, 8, 16, 12, 10, 11]
    assert (search.fits, search.late) == (11, 12)


def test_the_end_of_the_search_itself_is_tried() -> None:
    search = Search(6)
    assert tried(search, 100) == [1, 2, 4, 6]
    assert (search.fits, search.late) == (6, None)
