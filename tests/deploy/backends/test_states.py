"""States as plain arrays: what streams carry goes into a call and comes out of it, and what is none is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.backends.states import checked, stacked, unstacked
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError
from apcodec_deploy.spec import ModelSpec, State


@pytest.fixture(scope="module")
def spec(remembering_bundle: Any) -> ModelSpec:
    return Bundle.open(remembering_bundle).spec


def noise(spec: ModelSpec, direction: str, seed: int) -> State:
    generator = np.random.default_rng(seed)
    return tuple(generator.standard_normal(each.shape).astype(np.float32) for each in spec.states[direction])


@given(
    seeds=st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=5),
    direction=st.sampled_from(["encode", "decode"]),
)
def test_rows_keep_their_states(spec: ModelSpec, seeds: list[int | None], direction: str) -> None:
    states = [() if seed is None else noise(spec, direction, seed) for seed in seeds]
    arrays = stacked(spec, direction, states, len(seeds))
    assert [array.shape for array in arrays] == [(len(seeds), *each.shape) for each in spec.states[direction]]
    for state, found in zip(states, unstacked(arrays, len(seeds)), strict=True):
        assert checked(spec, direction, found) is found
        for array, expected in zip(found, state or (np.float32(0),) * len(found), strict=True):
            assert (array == expected).all()
            assert len(seeds) == 1 or array.base is None, "a stream holds no memory of its mates"


def test_no_states_are_new_streams(spec: ModelSpec) -> None:
    assert all(not array.any() and len(array) == 3 for array in stacked(spec, "decode", (), 3))
    assert [array.shape for array in checked(spec, "encode", ())] == [each.shape for each in spec.states["encode"]]


def test_a_model_without_streams_carries_nothing() -> None:
    spec = Bundle.embedded().spec
    assert stacked(spec, "encode", ((), ()), 2) == () and unstacked((), 2) == ((), ())
    with pytest.raises(BackendError, match="this model carries nothing"):
        stacked(spec, "encode", [(np.zeros(3, np.float32),)], 1)


def _other_direction(spec: ModelSpec) -> Any:
    return noise(spec, "encode", 0)


def _doubles(spec: ModelSpec) -> Any:
    return tuple(array.astype(np.float64) for array in noise(spec, "decode", 0))


def _lists(spec: ModelSpec) -> Any:
    return tuple(array.tolist() for array in noise(spec, "decode", 0))


def _stacked(spec: ModelSpec) -> Any:
    return tuple(array[None] for array in noise(spec, "decode", 0))


@pytest.mark.parametrize("made", [_other_direction, _doubles, _lists, _stacked])
def test_what_is_no_state_of_the_direction_is_refused(spec: ModelSpec, made: Any) -> None:
    with pytest.raises(BackendError, match=r"to decode, this model carries .*Is it the state of another model"):
        stacked(spec, "decode", [(), made(spec)], 2)


def test_states_of_other_backends_and_numbers_are_refused(spec: ModelSpec) -> None:
    handle: NDArray[np.float32] = np.zeros(3, np.float32)
    with pytest.raises(BackendError, match="another backend; fetch it"):
        checked(spec, "decode", handle)
    with pytest.raises(BackendError, match="2 states for 3 rows"):
        stacked(spec, "decode", [(), ()], 3)
