"""Cutting and joining codes, against cutting and joining arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy import Codec, EncodedAudio
from apcodec_deploy.audio.resampling import resampled_length
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.editing import concatenated, continued, sliced
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.spec import Layout
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout

RATES = st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 12_345])
WINDOWS, STREAM = WindowLayout(400, 9), StreamLayout(280)
LAYOUTS = st.sampled_from([WINDOWS, STREAM, StreamLayout(1000)])


def clip(samples: int, rate: int = 48_000, channels: int = 1, first: int = 0, layout: Layout = WINDOWS) -> EncodedAudio:
    """A clip whose codes count its latents."""
    latents = layout.latents(resampled_length(samples, rate, 48_000), 320)
    codes = (first + np.arange(latents)).astype(np.int16) % 1024
    header = Header(
        fingerprint="0123456789abcdef", sample_rate=rate, model_rate=48_000, channels=channels, samples=samples,
        latents=latents, codebooks=4, bits_per_code=10, samples_per_latent=320, layout=layout,
        one_dimensional=False,
    )  # fmt: skip
    return EncodedAudio(np.ascontiguousarray(np.broadcast_to(codes, (channels, 4, latents))), header)


@given(st.integers(1, 100_000), RATES, st.floats(0, 0.999), st.floats(0, 1), LAYOUTS)
def test_a_part_holds_what_was_asked_for(samples: int, rate: int, start: float, length: float, layout: Layout) -> None:
    whole = clip(samples, rate, layout=layout)
    begin = start * whole.duration
    end = begin + length * (whole.duration - begin)
    if end <= begin:
        return
    part = sliced(whole, begin, end)
    first = min(int(begin * 48_000 / 320 + 1e-6), whole.header.latents - 1)
    np.testing.assert_array_equal(part.codes, whole.codes[:, :, first : first + part.header.latents])
    latent = 1 / 150
    assert end - begin - 2 / rate - 1e-9 <= part.duration <= end - begin + latent + 3 / rate + 1e-9


@given(st.integers(1, 100_000), RATES, LAYOUTS)
def test_all_of_a_clip_is_the_clip(samples: int, rate: int, layout: Layout) -> None:
    whole = clip(samples, rate, layout=layout)
    part = sliced(whole)
    np.testing.assert_array_equal(part.codes, whole.codes)
    assert part.header == whole.header


@given(st.integers(700, 100_000), st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True), LAYOUTS)
def test_what_is_cut_between_latents_is_joined_without_a_trace(samples: int, cuts: list[int], layout: Layout) -> None:
    whole = clip(samples, layout=layout)
    places = [0.0, *(cut / 150 for cut in sorted(cuts) if cut * 320 < samples), None]
    parts = [sliced(whole, float(start or 0), end) for start, end in pairwise(places)]
    assert all(continued(*pair) for pair in pairwise(parts))
    joined = concatenated(parts)
    assert joined.header == whole.header
    np.testing.assert_array_equal(joined.codes, whole.codes)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=5), RATES, st.integers(1, 3), LAYOUTS)
def test_joined_clips_have_all_their_latents(lengths: list[int], rate: int, channels: int, layout: Layout) -> None:
    clips = [clip(length, rate, channels, first=100 * index, layout=layout) for index, length in enumerate(lengths)]
    joined = concatenated(clips)
    longer = joined.samples - sum(lengths)
    assert -2 - rate // 48_000 <= longer <= len(lengths) * (320 * rate / 48_000 + 2)
    start = 0
    for each in clips[:-1]:
        filled = -(-each.header.model_samples // 320)
        np.testing.assert_array_equal(joined.codes[:, :, start : start + filled], each.codes[:, :, :filled])
        start += filled
    np.testing.assert_array_equal(joined.codes[:, :, start:], clips[-1].codes)


def test_a_part_decodes_to_that_part(codec: Codec, speech: NDArray[np.float32]) -> None:
    """Far from the cut, where the network sees the same; statistics of the window differ, so nearly."""
    whole = codec.encode(speech[: 7 * 24_000])
    part = sliced(whole, 1.0, 3.0)
    assert part.samples == 2 * 48_000
    expected, found = codec.decode(whole)[48_000 : 3 * 48_000], codec.decode(part)
    assert found.shape == expected.shape
    middle = slice(24_000, -24_000)
    assert np.corrcoef(expected[middle], found[middle])[0, 1] > 0.95


def test_streams_go_on_only_where_nothing_beyond_the_first_is_lost() -> None:
    assert not continued(clip(640, layout=STREAM), clip(640, layout=STREAM))
    assert continued(clip(640, layout=STREAM), clip(640, first=2, layout=STREAM))
    assert continued(clip(610, layout=STREAM), clip(640, first=2, layout=STREAM))
    assert continued(clip(330, layout=STREAM), clip(640, layout=STREAM)), "its last latent makes all of it final"


def test_clips_that_do_not_agree_are_refused() -> None:
    with pytest.raises(BitstreamError, match="clip 2 has sample_rate 44100, the first one 48000"):
        concatenated([clip(1000), clip(1000, 44_100)])
    with pytest.raises(BitstreamError, match="channels"):
        concatenated([clip(1000), clip(1000, channels=2)])
    with pytest.raises(BitstreamError, match="no clips"):
        concatenated([])


@pytest.mark.parametrize(("start", "end"), [(2.0, None), (0.5, 0.5), (-1.0, None), (0.6, 0.2)])
def test_nothing_cannot_be_cut(start: float, end: float | None) -> None:
    with pytest.raises(BitstreamError, match="nothing is between"):
        sliced(clip(48_000), start, end)
