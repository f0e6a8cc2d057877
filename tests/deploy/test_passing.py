"""Clips through a causal backend: streams of any block sizes give what one call gives, with state and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.shared import SharedBackend
from apcodec_deploy.backends.states import checked, stacked, unstacked
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.families import StreamSpec, read_spec
from apcodec_deploy.passing import StreamPassing, passing
from apcodec_deploy.spec import State
from apcodec_deploy.streams import CALL_LATENTS, StreamLayout, coded_calls, sounding_calls

Array = NDArray[Any]
UNIT, DELAY = 6, 4
SPEC = read_spec(
    {
        "family": "apcodec-s",
        "sample_rate": 48_000,
        "n_fft": 8,
        "win_size": 6,
        "hop_size": 2,
        "ratio": 3,
        "latent_dim": 2,
        "num_codebooks": 2,
        "codebook_size": 32_768,
        "context": 0,
        "encoder_state": {"heard": [1]},
        "decoder_state": {"tail": [DELAY]},
    }
)
assert isinstance(SPEC, StreamSpec)
LAYOUT = SPEC.layout()


class Counting:
    """A backend whose codes are running sums of its input, and whose audio is those of the codes, ``DELAY`` late."""

    name = reason = precision = "counting"

    def __init__(self, batch_limit: int = 1) -> None:
        self.batch_limit = batch_limit
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        tokens_held = rows[:, 0].size if direction == "decode" else rows.size // UNIT
        assert tokens_held <= self.batch_limit * CALL_LATENTS and rows.flags.c_contiguous
        self.calls.append((direction, rows.shape))
        (state,) = stacked(SPEC, direction, states, len(rows))
        if direction == "encode":
            tokens = rows.reshape(len(rows), -1, UNIT).sum(axis=2).cumsum(axis=1) + state
            codes = np.stack([tokens, tokens + 1], axis=1).astype(np.int32) % 32_768
            return codes, unstacked([tokens[:, -1:]], len(rows))
        audio = np.repeat(rows.sum(axis=1), UNIT, axis=1).astype(np.float32)
        late = np.concatenate([state, audio], axis=1)
        return late[:, :-DELAY], unstacked([late[:, -DELAY:]], len(rows))

    def fetched(self, direction: str, state: Carried) -> State:
        return checked(SPEC, direction, state)

    def encode(self, audio: Array) -> Array:
        return self.push("encode", audio)[0]

    def decode(self, codes: Array) -> Array:
        return self.push("decode", codes)[0]

    def prepare(self, *, encode: bool, decode: bool) -> None: ...

    def close(self) -> None: ...


def cut(array: Array, sizes: list[int]) -> list[Array]:
    borders = np.cumsum(sizes)
    return [part for part in np.split(array, borders[borders < array.shape[-1]], axis=-1) if part.shape[-1]]


def expected(audio: Array) -> tuple[Array, Array]:
    latents = SPEC.latents(audio.shape[1])
    padded = np.pad(audio, ((0, 0), (0, latents * UNIT - audio.shape[1])))
    tokens = padded.reshape(len(audio), latents, UNIT).sum(axis=2).cumsum(axis=1)
    codes = np.stack([tokens, tokens + 1], axis=1).astype(np.int16)
    return codes, np.repeat(codes.sum(axis=1), UNIT, axis=1).astype(np.float32)[:, : latents * UNIT - DELAY]


SIZES = st.lists(st.integers(1, 900), max_size=8)


@settings(deadline=None)
@given(samples=st.integers(1, 2000), channels=st.integers(1, 3), limit=st.integers(1, 3), one=SIZES, other=SIZES)
def test_any_blocks_give_what_one_call_gives(
    samples: int, channels: int, limit: int, one: list[int], other: list[int]
) -> None:
    audio = np.random.default_rng(samples).integers(0, 3, (channels, samples)).astype(np.float32)
    codes, sound = expected(audio)
    way = StreamPassing(SPEC, Counting(limit))
    made = [part for _, part in way.encode([(cut(audio, one), LAYOUT)])]
    assert np.array_equal(np.concatenate(made, axis=2), codes) and made[0].dtype == np.int16
    back = [part for _, part in way.decode([(cut(codes, other), LAYOUT)])]
    assert np.array_equal(np.concatenate(back, axis=1), sound)
    assert sound.shape[1] >= samples


def test_every_length_comes_back_whole() -> None:
    way = StreamPassing(SPEC, Counting())
    for samples in range(1, 2001):
        audio = np.arange(samples, dtype=np.float32)[None] % 7
        codes = np.concatenate([part for _, part in way.encode([([audio], LAYOUT)])], axis=2)
        sound = np.concatenate([part for _, part in way.decode([([codes], LAYOUT)])], axis=1)
        assert samples <= sound.shape[1] < samples + UNIT
        assert np.array_equal(sound, expected(audio)[1])


def test_calls_are_of_one_size_but_for_the_last() -> None:
    audio = np.ones((1, 1000), np.float32)
    calls = [call.shape[1] for call in coded_calls(cut(audio, [7, 500, 1]), LAYOUT, UNIT)]
    assert calls == [CALL_LATENTS * UNIT, CALL_LATENTS * UNIT, sum(calls) - 2 * CALL_LATENTS * UNIT]
    assert sum(calls) == UNIT * SPEC.latents(1000)
    assert list(coded_calls([], LAYOUT, UNIT)) == [] and list(sounding_calls([])) == []


def test_clips_of_a_batch_are_streams_of_their_own() -> None:
    clips = [np.full((1, length), 1.0, np.float32) for length in (5, 700, 40)]
    way = passing(SPEC, Counting())
    parts: dict[int, list[Array]] = {}
    for index, part in way.encode([([clip], LAYOUT) for clip in clips]):
        parts.setdefault(index, []).append(part)
    for index, clip in enumerate(clips):
        assert np.array_equal(np.concatenate(parts[index], axis=2), expected(clip)[0])


def test_codes_out_of_range_never_reach_a_graph() -> None:
    backend = Counting()
    with pytest.raises(BitstreamError, match="codes from -1 to 0"):
        list(passing(SPEC, backend).decode([([np.array([[[0], [-1]]], np.int16)], LAYOUT)]))
    assert backend.calls == []


def test_lanes_keep_the_streams_of_many_callers_apart() -> None:
    shared = SharedBackend([Counting(4)])
    one, other = (np.full((1, UNIT), value, np.float32) for value in (1.0, 10.0))
    states: list[tuple[Carried, ...]] = [(), ()]
    for round_ in range(1, 4):
        for index, rows in enumerate((one, other)):
            codes, states[index] = shared.push("encode", rows, states[index])
            assert codes[0, 0, 0] == round_ * rows.sum()
    shared.close()


def test_a_layout_says_how_many_latents_a_clip_has() -> None:
    assert [StreamLayout(280).latents(samples, 320) for samples in (1, 40, 41, 320, 360, 361)] == [1, 1, 2, 2, 2, 3]
