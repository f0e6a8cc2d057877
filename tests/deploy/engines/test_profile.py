"""Profiles: which shapes an engine takes, and which of them serves a call best."""

from __future__ import annotations

from dataclasses import replace

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


LIVE = Profile(
    name="live",
    shapes=(Shapes(Range(1, 1, 1), Range(1, 1, 8)), Shapes(Range(2, 4, 4), Range(20, 40, 64))),
    cuda_graphs=True,
)


@pytest.mark.parametrize(
    ("latents", "calls"),
    [(1, [1]), (8, [8]), (9, [8, 1]), (19, [8, 8, 3]), (20, [20]), (64, [64]), (149, [64, 64, 21])],
)
def test_streams_are_cut_into_what_is_taken(latents: int, calls: list[int]) -> None:
    assert LIVE.cuts(latents) == calls


def test_a_push_of_which_too_little_is_left_is_refused() -> None:
    files = Profile(name="files", shapes=(Shapes(Range(1, 1, 1), Range(4, 8, 8)),))
    assert files.cuts(12) == [8, 4]
    for latents in (3, 11):
        with pytest.raises(EngineError, match=r"a push of 3 tokens; .* files take 4 to 8\. .*--profile streaming"):
            files.cuts(latents)


def test_few_lengths_are_all_recorded_and_of_many_the_usual_one() -> None:
    assert [latents for latents in range(1, 9) if LIVE.recorded(0, 1, latents)] == list(range(1, 9))
    assert [latents for latents in range(20, 65) if LIVE.recorded(1, 4, latents)] == [40]
    assert not LIVE.recorded(1, 3, 40)
    assert LIVE.recordings == 9
    assert replace(LIVE, cuda_graphs=False).recordings == 0


@pytest.mark.parametrize(
    ("batch", "latents", "replayed"),
    [(1, 3, True), (5, 8, True), (4, 40, True), (3, 40, False), (8, 40, True), (9, 40, False), (4, 41, False)],
)
def test_clips_are_replayed_where_all_of_their_calls_are_recorded(batch: int, latents: int, replayed: bool) -> None:
    assert LIVE.replays(batch, latents) == replayed
    assert not replace(LIVE, cuda_graphs=False).replays(batch, latents)
    assert not LIVE.replays(batch, 10)  # a length that nothing takes
