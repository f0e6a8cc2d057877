"""The numbers of a model against the formulas that they stand for."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.errors import ApcodecError, BundleError
from apcodec_deploy.families import StreamSpec, WindowedSpec, read_spec

PUBLISHED: dict[str, Any] = {
    "family": "apcodec-grn",
    "sample_rate": 48000,
    "n_fft": 1024,
    "win_size": 320,
    "hop_size": 40,
    "ratio": 8,
    "latent_dim": 32,
    "num_codebooks": 4,
    "codebook_size": 1024,
    "encoder_context_frames": 58,
    "decoder_context_frames": 66,
    "window_latents": 150,
}
NUMBERS = sorted(PUBLISHED.keys() - {"family"})


@pytest.fixture
def published() -> WindowedSpec:
    """The published 48 kHz model."""
    return WindowedSpec(**PUBLISHED)


def test_the_published_model_in_numbers(published: WindowedSpec) -> None:
    assert published.bins == 513
    assert published.samples_per_latent == 320
    assert published.latent_rate == 150
    assert published.bits_per_code == 10
    assert published.bitrate == 6000
    assert published.min_samples == 161
    assert published.context_latents == 10


@pytest.mark.parametrize(("hop", "ratio"), [(40, 8), (40, 1), (1, 8), (7, 5), (120, 2)])
def test_every_length_obeys_the_law(published: WindowedSpec, hop: int, ratio: int) -> None:
    spec = replace(published, hop_size=hop, ratio=ratio)
    for samples in range(5000):
        frames = len(range(0, samples + 1, hop))
        assert spec.frames(samples) == frames
        assert spec.latents(samples) == ceil(frames / ratio)


@given(samples=st.integers(0, 2**50), hop=st.integers(1, 160), ratio=st.integers(1, 32))
def test_no_sample_is_beyond_the_last_latent(samples: int, hop: int, ratio: int) -> None:
    spec = WindowedSpec(**PUBLISHED | {"hop_size": hop, "ratio": ratio})
    assert spec.latents(samples) * hop * ratio > samples
    assert (spec.latents(samples) - 1) * hop * ratio <= samples


@pytest.mark.parametrize("size", [2, 3, 255, 256, 257, 1000, 1024, 1025, 32767, 32768])
def test_bits_hold_every_code_and_no_bit_is_idle(published: WindowedSpec, size: int) -> None:
    spec = replace(published, codebook_size=size)
    assert spec.bits_per_code == ceil(log2(size))
    assert spec.bitrate == 150 * 4 * ceil(log2(size))


@pytest.mark.parametrize(("rate", "codebooks", "expected"), [(24000, 8, 6000), (16000, 4, 2000), (44100, 9, 12403.125)])
def test_bitrates_of_other_models(published: WindowedSpec, rate: int, codebooks: int, expected: float) -> None:
    assert replace(published, sample_rate=rate, num_codebooks=codebooks).bitrate == expected


@pytest.mark.parametrize(("encoder", "decoder"), [(1, 1), (58, 66), (64, 8), (65, 64), (7, 72)])
def test_the_context_covers_both_sides_and_a_latent_to_fade_over(
    published: WindowedSpec, encoder: int, decoder: int
) -> None:
    spec = replace(published, encoder_context_frames=encoder, decoder_context_frames=decoder)
    spare = (spec.context_latents - 1) * 8 - max(encoder, decoder)
    assert 0 <= spare < 8


@pytest.mark.parametrize(("win", "hop"), [(320, 40), (320, 160), (320, 100), (1024, 256), (64, 7), (321, 40), (79, 40)])
def test_the_shortest_clip_can_be_reflected(published: WindowedSpec, win: int, hop: int) -> None:
    """A reflection by ``n`` samples needs ``n + 1``: half a window before the clip, and what fills up the last hop."""
    shortest = replace(published, win_size=win, hop_size=hop).min_samples
    before = ceil(win / 2)
    assert shortest > before
    assert shortest > ceil(win / hop) * hop - before
    assert shortest <= before + hop


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, 1.0, "8", None, True])
def test_numbers_must_be_positive_integers(name: str, value: Any) -> None:
    with pytest.raises(BundleError, match=rf"^{name} is {value!r}; a positive integer is expected"):
        read_spec(PUBLISHED | {name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_size": 320}, "win_size is 320; more than a hop of 320"),
        ({"win_size": 1026}, r"win_size is 1026; .*at most n_fft \(1024\)"),
        ({"codebook_size": 1}, "codebook_size is 1; 2 to 32768 is expected"),
        ({"codebook_size": 32769}, "codebook_size is 32769; 2 to 32768 is expected"),
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_spec(PUBLISHED | changes)


def test_json_round_trip(published: WindowedSpec) -> None:
    assert published.to_dict() == PUBLISHED
    assert read_spec(published.to_dict()) == published


def test_all_missing_keys_are_named() -> None:
    with pytest.raises(BundleError, match=r"lack hop_size, ratio$"):
        read_spec({key: value for key, value in PUBLISHED.items() if key not in ("ratio", "hop_size")})


def test_all_unknown_keys_are_named() -> None:
    with pytest.raises(BundleError, match=r"unknown keys: causal, streaming$"):
        read_spec(PUBLISHED | {"streaming": 1, "causal": 1})


STREAM: dict[str, Any] = {
    key: value for key, value in PUBLISHED.items() if not key.endswith("_frames") and key != "window_latents"
} | {
    "family": "apcodec-s",
    "context": 0,
    "encoder_state": {"audio_tail": [280]},
    "decoder_state": {"latent_previous": [1, 33], "overlap": [280]},
}


def stream(**changes: Any) -> StreamSpec:
    spec = read_spec(STREAM | changes)
    assert isinstance(spec, StreamSpec)
    return spec


def test_a_streamable_model_in_numbers() -> None:
    spec = stream()
    assert spec.to_dict() == STREAM
    assert (spec.samples_per_latent, spec.delay_samples, spec.latency_samples) == (320, 280, 600)


@given(hop=st.integers(1, 60), windows=st.integers(3, 9), ratio=st.integers(1, 12), samples=st.integers(1, 5000))
def test_a_stream_has_as_many_tokens_as_make_its_last_sample_final(
    hop: int, windows: int, ratio: int, samples: int
) -> None:
    spec = stream(hop_size=hop, win_size=2 * windows * hop, n_fft=1080, ratio=ratio)
    latents = spec.latents(samples)
    final = [count * hop * ratio - spec.delay_samples for count in (latents - 1, latents)]
    assert final[0] < samples <= final[1]
    shortest, longest = spec.samples_range(latents)
    assert shortest <= samples <= longest == final[1]
    assert spec.frames(samples) == latents * ratio


def test_windows_of_a_stream_are_refused() -> None:
    assert stream().layout("whole") == stream().layout()
    with pytest.raises(ApcodecError, match=r"a window of 2 s: this model has no windows"):
        stream().layout(2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": -1}, "context is -1; 0 or a positive"),
        ({"win_size": 300, "hop_size": 40}, "a whole number of hops from three on"),
        ({"encoder_state": [280]}, r"encoder_state is \[280\]; an object of shapes"),
        ({"decoder_state": {"overlap": [0]}}, r"the state overlap has the shape \[0\]"),
        ({"family": "apcodec-x"}, "of the family 'apcodec-x'; this program knows apcodec-grn, apcodec-layerscale"),
    ],
)
def test_impossible_streams_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        stream(**changes)
