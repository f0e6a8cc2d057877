"""Windows: every latent once, real neighbours on both sides, bounded memory, and no seam."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.families import WindowedSpec
from apcodec_deploy.windows import Window, WindowLayout, cut_audio, cut_codes, join_audio

PUBLISHED = WindowedSpec(
    family="apcodec-grn",
    sample_rate=48000,
    n_fft=1024,
    win_size=320,
    hop_size=40,
    ratio=8,
    latent_dim=32,
    num_codebooks=4,
    codebook_size=1024,
    encoder_context_frames=58,
    decoder_context_frames=66,
    window_latents=150,
)
TINY = replace(PUBLISHED, n_fft=8, win_size=4, hop_size=2, ratio=2)
"""Four samples per latent, for clips of many latents."""
UNIT = 4

Array = NDArray[Any]

LAYOUTS = st.just(WindowLayout(0, 0)) | st.builds(WindowLayout, st.integers(1, 12), st.integers(1, 6))
CUTS = st.lists(st.integers(0, 400), max_size=12)


def blocks_of(array: Array, cuts: list[int]) -> Iterator[Array]:
    """The array cut along its last axis at any places; equal ones make empty blocks."""
    borders = [0, *sorted(min(cut, array.shape[-1]) for cut in cuts), array.shape[-1]]
    for start, stop in itertools.pairwise(borders):
        yield array[..., start:stop]


def noise(channels: int, samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(samples).standard_normal((channels, samples)).astype(np.float32)


class TestLayout:
    @given(layout=LAYOUTS, latents=st.integers(1, 200))
    def test_every_latent_is_kept_once_and_in_order(self, layout: WindowLayout, latents: int) -> None:
        windows = layout.windows(latents)
        kept = [latent for window in windows for latent in range(window.keep_start, window.keep_stop)]
        assert kept == list(range(latents))

    @given(layout=LAYOUTS, latents=st.integers(1, 200))
    def test_windows_have_one_length_inside_the_clip(self, layout: WindowLayout, latents: int) -> None:
        windows = layout.windows(latents)
        expected = min(latents, layout.core + 2 * layout.context) if layout.core else latents
        assert {window.stop - window.start for window in windows} == {expected}
        assert all(0 <= window.start < window.stop <= latents for window in windows)

    @given(layout=LAYOUTS, latents=st.integers(1, 200))
    def test_what_is_kept_has_context_on_both_sides(self, layout: WindowLayout, latents: int) -> None:
        for window in layout.windows(latents):
            assert window.keep_start - window.start >= layout.context or window.keep_start == window.start == 0
            assert window.stop - window.keep_stop >= layout.context or window.keep_stop == window.stop == latents
            assert window.kept == slice(window.keep_start - window.start, window.keep_stop - window.start)

    @given(layout=LAYOUTS, latents=st.integers(1, 200))
    def test_all_but_the_last_start_on_the_grid(self, layout: WindowLayout, latents: int) -> None:
        windows = layout.windows(latents)
        assert [window.start for window in windows[:-1]] == [layout.core * k for k in range(len(windows) - 1)]

    def test_a_clip_of_one_window_is_one_piece(self) -> None:
        layout = WindowLayout(core=10, context=3)
        assert layout.windows(16) == [Window(0, 16, 0, 16)]
        assert layout.windows(17) == [Window(0, 16, 0, 13), Window(1, 17, 13, 17)]

    @given(latents=st.integers(1, 10**6))
    def test_whole_is_one_piece(self, latents: int) -> None:
        assert WindowLayout(0, 0).windows(latents) == [Window(0, latents, 0, latents)]

    def test_the_default_is_the_models(self) -> None:
        assert PUBLISHED.layout() == WindowLayout(core=150, context=10)

    @pytest.mark.parametrize(
        ("window", "core"), [(1, 150), (2.5, 375), ("0.5", 75), (0.166, 25), (1e-9, 1), ("whole", 0), (86399, 12959850)]
    )
    def test_seconds_become_latents(self, window: float | str, core: int) -> None:
        assert PUBLISHED.layout(window) == WindowLayout(core, 10 if core else 0)

    @pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf"), 86400, "", "half", "-1", "Whole", "1 s"])
    def test_anything_else_is_refused(self, window: float | str) -> None:
        with pytest.raises(ApcodecError, match="expected 'whole' or a number of seconds above 0"):
            PUBLISHED.layout(window)


class TestCutting:
    @given(layout=LAYOUTS, samples=st.integers(1, 400), channels=st.integers(1, 2), cuts=CUTS)
    def test_audio(self, layout: WindowLayout, samples: int, channels: int, cuts: list[int]) -> None:
        audio = noise(channels, samples)
        cut = list(cut_audio(blocks_of(audio, cuts), layout, UNIT))
        windows = layout.windows(samples // UNIT + 1)
        assert [window for window, _ in cut] == windows
        if len(windows) == 1:
            np.testing.assert_array_equal(cut[0][1], audio)
            return
        continued = np.pad(audio, ((0, 0), (0, UNIT)), mode="reflect")
        for window, part in cut:
            np.testing.assert_array_equal(part, continued[:, window.start * UNIT : window.stop * UNIT - 1])

    @given(layout=LAYOUTS, latents=st.integers(1, 120), channels=st.integers(1, 2), cuts=CUTS)
    def test_codes(self, layout: WindowLayout, latents: int, channels: int, cuts: list[int]) -> None:
        codes = np.random.default_rng(latents).integers(0, 1024, (channels, 3, latents)).astype(np.int16)
        cut = list(cut_codes(blocks_of(codes, cuts), layout))
        assert [window for window, _ in cut] == layout.windows(latents)
        for window, part in cut:
            np.testing.assert_array_equal(part, codes[:, :, window.start : window.stop])

    def test_a_window_is_given_as_soon_as_it_is_there(self) -> None:
        """What a live stream waits for: a window's samples, not the clip's end."""
        layout = WindowLayout(core=5, context=2)
        fed = 0

        def one_by_one() -> Iterator[NDArray[np.float32]]:
            nonlocal fed
            for _ in range(200):
                fed += 1
                yield np.ones((1, 1), np.float32)

        for window, _ in itertools.islice(cut_audio(one_by_one(), layout, UNIT), 3):
            assert fed == window.stop * UNIT

    @pytest.mark.parametrize("blocks", [[], [np.zeros((1, 0), np.float32)]])
    def test_nothing_gives_nothing(self, blocks: list[NDArray[np.float32]]) -> None:
        assert list(cut_audio(blocks, WindowLayout(5, 2), UNIT)) == []
        assert list(cut_codes([block.astype(np.int16)[None] for block in blocks], WindowLayout(5, 2))) == []

    @pytest.mark.parametrize("size", [480, 48000, 30000])
    def test_memory_for_audio_does_not_grow_with_the_clip(self, size: int) -> None:
        layout = PUBLISHED.layout()
        count = 48000 * 60 // size

        def consume() -> None:
            blocks = (np.ones((1, size), np.float32) for _ in range(count))
            for _ in cut_audio(blocks, layout, PUBLISHED.samples_per_latent):
                pass

        assert peak_of(consume) < 8 * 4 * (layout.length * 320 + size)

    @pytest.mark.parametrize("size", [10, 2048])
    def test_memory_for_codes_does_not_grow_with_the_clip(self, size: int) -> None:
        layout = PUBLISHED.layout()
        count = 100_000 // size

        def consume() -> None:
            blocks = (np.ones((1, 4, size), np.int16) for _ in range(count))
            for _ in cut_codes(blocks, layout):
                pass

        assert peak_of(consume) < 8 * 8 * (layout.length + size) + 10_000


def peak_of(consume: Callable[[], None]) -> int:
    """The most bytes that a call held at a time."""
    tracemalloc.start()
    try:
        consume()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def decoded(layout: WindowLayout, signal: NDArray[np.float32]) -> list[tuple[Window, NDArray[np.float32]]]:
    """Windows as a perfect decoder gives them: the samples of the signal under each."""
    windows = layout.windows(signal.shape[1] // UNIT)
    return [(window, signal[:, window.start * UNIT : window.stop * UNIT]) for window in windows]


class TestJoining:
    @given(layout=LAYOUTS, latents=st.integers(1, 120), channels=st.integers(1, 2))
    def test_windows_of_one_signal_give_it_back(self, layout: WindowLayout, latents: int, channels: int) -> None:
        signal = noise(channels, latents * UNIT)
        joined = np.concatenate(list(join_audio(decoded(layout, signal), UNIT)), axis=1)
        np.testing.assert_allclose(joined, signal, rtol=0, atol=1e-6)

    @given(layout=LAYOUTS, latents=st.integers(1, 120))
    def test_only_the_first_latent_of_a_window_is_faded(self, layout: WindowLayout, latents: int) -> None:
        signal = noise(1, latents * UNIT)
        pieces = decoded(layout, signal)
        joined = np.concatenate(list(join_audio(pieces, UNIT)), axis=1)
        exact = np.ones(latents * UNIT, bool)
        for window, _ in pieces[1:]:
            exact[window.keep_start * UNIT : (window.keep_start + 1) * UNIT] = False
        np.testing.assert_array_equal(joined[:, exact], signal[:, exact])

    def test_joining_leaves_the_windows_as_they_were(self) -> None:
        layout = WindowLayout(5, 2)
        pieces = [(window, noise(1, layout.length * UNIT + k)) for k, window in enumerate(layout.windows(60))]
        before = [audio.copy() for _, audio in pieces]
        list(join_audio(pieces, UNIT))
        for (_, audio), copy in zip(pieces, before, strict=True):
            np.testing.assert_array_equal(audio, copy)

    @given(offsets=st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=6))
    def test_windows_that_differ_by_an_offset_are_joined_without_a_jump(self, offsets: list[float]) -> None:
        layout = WindowLayout(core=4, context=2)
        count = len(offsets)
        latents = layout.length + 4 * (count - 1)
        pieces = [
            (window, np.full((1, layout.length * 320), offset, np.float32))
            for window, offset in zip(layout.windows(latents), offsets, strict=True)
        ]
        joined = np.concatenate(list(join_audio(pieces, PUBLISHED.samples_per_latent)), axis=1)
        assert joined.shape == (1, latents * 320)
        largest = max(abs(after - before) for before, after in itertools.pairwise(offsets))
        assert np.abs(np.diff(joined)).max() <= largest / 320 + 1e-6

    def test_the_later_window_takes_over_within_a_latent(self) -> None:
        layout = WindowLayout(core=4, context=2)
        pieces = [
            (window, np.full((1, layout.length * 320), value, np.float32))
            for window, value in zip(layout.windows(12), (0, 1), strict=True)
        ]
        joined = np.concatenate(list(join_audio(pieces, PUBLISHED.samples_per_latent)), axis=1)[0]
        border = 6 * 320
        assert not joined[:border].any()
        assert (joined[border + 320 :] == 1).all()
        np.testing.assert_allclose(joined[border : border + 320], (np.arange(320) + 0.5) / 320, atol=1e-6)
