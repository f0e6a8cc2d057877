"""Profiles: which shapes an engine takes, and which of them serves a call best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.errors import EngineError


def profile(*shapes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Profile:
    return Profile(name="p", shapes=tuple(Shapes(Range(*batch), Range(*latents)) for batch, latents in shapes))


MIXED = profile(((4, 8, 8), (100, 100, 100)), ((1, 1, 2), (1, 50, 100)))


@pytest.mark.parametrize(
    "values", [None, 3, [1, 2], [1, 2, 3, 4], ["1", 2, 3], [1.0, 2, 3], [True, 2, 3], [0, 1, 2], [2, 1, 3], [1, 3, 2]]
)
def test_what_is_no_range_is_refused(values: object) -> None:
    with pytest.raises(EngineError, match=r"batch.*is expected"):
        Range.of("batch", values)


@given(st.lists(st.integers(1, 10_000), min_size=3, max_size=3).map(sorted), st.integers(-5, 10_005))
def test_a_range_holds_what_is_between_its_ends(values: list[int], size: int) -> None:
    found = Range.of("latents", values)
    assert (size in found) == (values[0] <= size <= values[2])


@pytest.mark.parametrize(
    ("batch", "latents", "best"),
    [
        (8, 100, 0),  # one call against four
        (4, 100, 0),
        (3, 100, 0),  # one call, filled up, against two
        (2, 100, 1),  # one call either way, and nothing to fill up
        (1, 100, 1),
        (8, 99, 1),  # the only one that takes it
        (1, 1, 1),
    ],
)
def test_the_best_shapes_need_the_fewest_calls_and_the_least_filling_up(batch: int, latents: int, best: int) -> None:
    assert MIXED.best(batch, latents) == best


def test_a_length_that_none_takes_is_refused_with_what_they_take() -> None:
    with pytest.raises(EngineError, match=r"a clip of 101 latents; the engines of profile p take 100 to 100, 1 to 100"):
        MIXED.best(1, 101)


def test_a_profile_without_shapes_is_refused() -> None:
    with pytest.raises(EngineError, match="holds no shapes"):
        profile()


def test_limits_are_those_of_all_shapes() -> None:
    assert (MIXED.max_batch, MIXED.max_latents) == (8, 100)


def test_a_profile_survives_its_manifest() -> None:
    assert Profile.from_dict(MIXED.to_dict()) == MIXED
    with pytest.raises(EngineError, match="expected cuda_graphs, name, shapes"):
        Profile.from_dict({"name": "p", "shapes": []})
