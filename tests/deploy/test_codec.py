"""The codec: exact lengths, windows without seams, batches without influence, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import AudioError, BitstreamError, Codec, EncodedAudio
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.errors import ApcodecError, ModelMismatchError

Audio = NDArray[np.float32]


def snr(reference: Audio, audio: Audio) -> float:
    """Signal to noise, dB."""
    return float(10 * np.log10((reference**2).sum() / ((audio - reference) ** 2).sum()))


def noise(*shape: int, seed: int = 0) -> Audio:
    """Gaussian noise at -20 dB."""
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def small(grn_bundle: Path) -> Iterator[Codec]:
    """A smaller model with frames and rates as the embedded one, for what no weight decides."""
    with apcodec_deploy.load(grn_bundle) as loaded:
        yield loaded


def test_the_numbers_of_the_model_are_attributes(codec: Codec) -> None:
    assert (codec.sample_rate, codec.bitrate, codec.latent_rate) == (48_000, 6000, 150)
    assert (codec.num_codebooks, codec.codebook_size, codec.samples_per_latent) == (4, 1024, 320)


@pytest.mark.parametrize("hundred", range(7))
def test_every_length_comes_back_exactly(small: Codec, speech: Audio, hundred: int) -> None:
    for samples in range(100 * hundred + 1, 100 * hundred + 101):
        encoded = small.encode(speech[30_000 : 30_000 + samples])
        assert encoded.codes.shape == (1, 4, samples // 320 + 1)
        assert small.decode(encoded).shape == (samples,)


@pytest.mark.parametrize("samples", [1, 40, 319, 320, 321, 639, 640])
def test_lengths_about_a_latent_come_back_from_the_embedded_model(codec: Codec, speech: Audio, samples: int) -> None:
    encoded = codec.encode(speech[30_000 : 30_000 + samples])
    assert encoded.codes.shape == (1, 4, samples // 320 + 1)
    assert codec.decode(encoded).shape == (samples,)


@settings(max_examples=40)
@given(
    samples=st.integers(1, 30_000),
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000, 1000, 47_999]),
    channels=st.integers(0, 3),
)
def test_any_rate_and_channel_count_comes_back_exactly(small: Codec, samples: int, rate: int, channels: int) -> None:
    shape = (channels, min(samples, rate)) if channels else (min(samples, rate),)
    audio = noise(*shape)
    encoded = small.encode(audio, rate)
    decoded = small.decode(encoded)
    assert decoded.shape == shape
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()
    assert (encoded.sample_rate, encoded.channels, encoded.samples) == (rate, max(channels, 1), shape[-1])


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_the_last_samples_are_audio(codec: Codec, speech: Audio, rate: int) -> None:
    """The published code drops the last 39 samples of a clip of 320 k + 319; here they are decoded like the others."""
    ratios = []
    for end in range(100_000, 200_000, 20_000):
        clip = speech[end - 320 * 20 - 319 : end]
        decoded = codec.decode(codec.encode(clip, rate))
        assert (decoded[-39:] != 0).all()
        ratios.append(np.sqrt((decoded[-39:] ** 2).mean() / (decoded[-400:-39] ** 2).mean()))
    assert 0.03 < np.median(ratios) < 3  # the demo model is weak in its last frame, whatever the length


def test_channels_are_coded_one_by_one(codec: Codec, speech: Audio) -> None:
    left, right = speech[20_000:50_000], speech[90_000:120_000]
    both = codec.encode(np.stack([left, right]))
    np.testing.assert_array_equal(both.codes[:1], codec.encode(left).codes)
    np.testing.assert_array_equal(both.codes[1:], codec.encode(right).codes)


def test_results_do_not_depend_on_batch_mates(codec: Codec, speech: Audio) -> None:
    clips = [speech[:7_960], 15 * speech[:7_960], noise(2, 7_960), speech[:161], speech[50_000:50_001], noise(12_345)]
    together = codec.encode_batch(clips)
    for clip, encoded in zip(clips, together, strict=True):
        np.testing.assert_array_equal(encoded.codes, codec.encode(clip).codes)
    for encoded, decoded in zip(together, codec.decode_batch(together), strict=True):
        np.testing.assert_array_equal(decoded, codec.decode(encoded))


def test_an_empty_batch_is_empty(codec: Codec) -> None:
    assert codec.encode_batch([]) == []
    assert codec.decode_batch([]) == []


def test_streams_give_what_arrays_give(codec: Codec, speech: Audio) -> None:
    stereo = np.stack([speech, speech[::-1]])[:, 30_000:75_001]
    encoded = codec.encode(stereo, 44_100, window=0.25)
    layout = codec.layout(0.25)
    blocks = [stereo[:, start : start + 10_007] for start in range(0, stereo.shape[1], 10_007)]
    streamed = np.concatenate(list(codec.encode_stream(blocks, 44_100, layout)), axis=2)
    np.testing.assert_array_equal(streamed, encoded.codes)
    pieces = (encoded.codes[:, :, start : start + 37] for start in range(0, encoded.header.latents, 37))
    decoded = np.concatenate(list(codec.decode_stream(pieces, encoded.header)), axis=1)
    np.testing.assert_array_equal(decoded, codec.decode(encoded))


def test_windows_change_few_codes(codec: Codec, speech: Audio) -> None:
    """How few depends on the model: the statistics of GRN are those of the window."""
    clip = speech[:96_000]
    whole = codec.encode(clip, window="whole")
    windowed = codec.encode(clip, window=0.5)
    assert windowed.header.layout.core == 75
    assert (whole.codes == windowed.codes).mean() > 0.75


def test_a_seam_cannot_be_told_from_other_samples(codec: Codec, speech: Audio) -> None:
    """The jump from sample to sample at window borders, against the same jumps everywhere.

    So many borders tell one latent of context from enough; 48 of them do not.
    """
    encoded = codec.encode(speech, window=0.1)
    decoded = codec.decode(encoded)
    borders = [window.keep_start * 320 for window in encoded.header.layout.windows(encoded.header.latents)][1:]
    assert len(borders) > 60
    loudness = np.sqrt(np.convolve(decoded**2, np.ones(320) / 320, "same")) + 1e-4
    jumps = np.abs(np.diff(decoded)) / loudness[1:]
    for offset in (0, 320):
        at_borders = jumps[[border + offset - 1 for border in borders]]
        assert np.median(at_borders) < 1.3 * np.median(jumps)
        assert np.quantile(at_borders, 0.95) < 1.3 * np.quantile(jumps, 0.95)


def test_windowed_decoding_is_close_to_whole_decoding(codec: Codec, speech: Audio) -> None:
    encoded = codec.encode(speech[:96_000], window="whole")
    assert snr(codec.decode(encoded), codec.decode(encoded, window=0.5)) > 20


def test_the_file_says_how_it_is_decoded(codec: Codec, speech: Audio) -> None:
    encoded = codec.encode(speech[:48_000], window=0.25)
    np.testing.assert_array_equal(codec.decode(encoded), codec.decode(encoded, window=0.25))
    assert not np.array_equal(codec.decode(encoded), codec.decode(encoded, window="whole"))


def test_silence_and_extremes_give_finite_audio(codec: Codec, speech: Audio) -> None:
    for clip in (np.zeros(5000, np.float32), np.full(5000, 0.5, np.float32), 1e4 * speech[:5000], np.eye(1, 5000)[0]):
        assert np.isfinite(codec.decode(codec.encode(clip))).all()


def test_random_codes_give_finite_audio(codec: Codec, speech: Audio) -> None:
    encoded = codec.encode(speech[:64_000])
    codes = np.random.default_rng(0).integers(0, 1024, encoded.codes.shape).astype(np.int16)
    assert np.isfinite(codec.decode(EncodedAudio(codes, encoded.header))).all()


def test_gaps_are_silent_and_the_rest_is_not(codec: Codec, speech: Audio) -> None:
    encoded = codec.encode(speech[:64_000])
    decoded = codec.decode(EncodedAudio(encoded.codes, encoded.header, (Gap(50, 60, "lost"),)))
    assert not decoded[50 * 320 : 60 * 320].any()
    np.testing.assert_array_equal(decoded[: 50 * 320], codec.decode(encoded)[: 50 * 320])


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.zeros(0, np.float32), "at least 1"),
        (np.zeros((2, 0), np.float32), "at least 1"),
        (np.zeros((1, 2, 3), np.float32), r"shape \[1, 2, 3\]"),
        (np.zeros(100, np.int16), "int16"),
        (np.array([0.0, np.nan]), "sample 1 of channel 0 is nan"),
        (np.array([np.inf, 0.0, -np.inf]), "sample 0 .* is inf, the first of 2"),
    ],
)
def test_bad_audio_is_refused(codec: Codec, audio: Audio, words: str) -> None:
    with pytest.raises(AudioError, match=words):
        codec.encode(audio)


def test_an_array_of_samples_by_channels_is_not_taken_for_many_channels(codec: Codec) -> None:
    with pytest.raises(AudioError, match="transpose"):
        codec.encode(noise(300, 2))
    with pytest.raises(AudioError, match="transpose"):
        codec.encode(noise(70_000, 2))


def test_absurd_samples_are_refused(codec: Codec) -> None:
    with pytest.raises(AudioError, match="at most 100"):
        codec.encode(np.array([0.0, 1e300]))


@pytest.mark.parametrize("rate", [0, -1, 999, 10**7, 44_100.5, True])
def test_bad_rates_are_refused(codec: Codec, rate: int) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        codec.encode(noise(100), rate)


@pytest.mark.parametrize("window", ["whale", 0, -1.0, float("nan"), float("inf"), "1e9"])
def test_bad_windows_are_refused(codec: Codec, window: float | str) -> None:
    with pytest.raises(ApcodecError, match="window"):
        codec.encode(noise(100), window=window)


def test_a_clip_too_long_to_code_whole_is_refused_before_it_is_coded(codec: Codec) -> None:
    with pytest.raises(AudioError, match="do not fit in memory"):
        codec.encode(np.zeros(181 * 48_000, np.float32), window="whole")
    with pytest.raises(AudioError, match="do not fit in memory"):
        codec.encode(noise(100), window=200)


def test_codes_of_another_model_are_refused(codec: Codec, speech: Audio, grn_bundle: Path) -> None:
    encoded = codec.encode(speech[:1000])
    with (
        apcodec_deploy.load(grn_bundle) as other,
        pytest.raises(ModelMismatchError, match=f"{encoded.fingerprint}.*--model"),
    ):
        other.decode(encoded)


def test_codes_out_of_range_never_reach_a_graph(grn_bundle: Path, codec: Codec, speech: Audio) -> None:
    encoded = codec.encode(speech[:1000])
    codes = encoded.codes.copy()
    codes[0, 0, 0] = 1024
    with pytest.raises(BitstreamError, match="1024"):
        codec.decode(EncodedAudio(codes, encoded.header))


def test_both_families_round_trip(bundle: Path, speech: Audio) -> None:
    with apcodec_deploy.load(bundle) as model:
        clip = speech[40_000:60_001]
        encoded = model.encode(clip, 48_000)
        assert encoded.codes.shape[1] == model.num_codebooks
        assert model.decode(encoded).shape == clip.shape
        long = speech[:150_000]
        assert model.decode(model.encode(long, model.sample_rate, window=0.5)).shape == long.shape


def test_threads_do_not_change_a_full_window(codec: Codec, speech: Audio) -> None:
    clip = np.tile(speech, 2)[: 320 * 418 - 1]
    codes = [apcodec_deploy.load(threads=threads).encode(clip).codes for threads in (1, 2, 3)]
    for one, other in pairwise(codes):
        np.testing.assert_array_equal(one, other)
