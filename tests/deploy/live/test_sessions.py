"""Live sessions: pieces of any size give what the whole gives, to the bit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from session_audio import noise

from apcodec_deploy import Codec

Array = NDArray[Any]
UNIT, DELAY = 320, 280


def cut(array: Array, at: Sequence[int]) -> list[Array]:
    """The array's last axis in pieces that end at those places."""
    ends = [0, *sorted(min(place, array.shape[-1]) for place in at), array.shape[-1]]
    return [array[..., start:stop] for start, stop in pairwise(ends)]


def coded(codec: Codec, audio: Array, at: Sequence[int], rate: int = 48_000) -> Array:
    encoder = codec.encoder(rate, len(audio))
    *pieces, last = cut(audio, at)
    return np.concatenate([*(encoder.push(piece) for piece in pieces), encoder.flush(last)], axis=2)


# Equal to the whole


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 6000),
    channels=st.integers(1, 2),
    places=st.lists(st.integers(0, 6000), max_size=6),
    tokens=st.lists(st.integers(0, 20), max_size=4),
    stop=st.integers(0, 6),
)
def test_pieces_of_any_size_give_what_the_whole_gives(
    live: Codec, samples: int, channels: int, places: list[int], tokens: list[int], stop: int
) -> None:
    """Saved and restored on the way, both of them."""
    audio = noise(channels, samples)
    whole = live.encode(audio)
    encoder = live.encoder(channels=channels)
    made = []
    for index, piece in enumerate(cut(audio, places)):
        if index == stop:
            encoder = live.encoder(channels=channels).restore(encoder.save())
        made.append(encoder.push(piece))
    last = encoder.flush()
    codes = np.concatenate([*made, last], axis=2)
    assert codes.dtype == np.int16 and encoder.samples == samples
    np.testing.assert_array_equal(codes, whole.codes)

    decoder = live.decoder(channels=channels)
    before = codes[:, :, : codes.shape[2] - last.shape[2]]
    heard = []
    for index, part in enumerate(cut(before, tokens)):
        if index == stop:
            decoder = live.decoder(channels=channels).restore(decoder.save())
        heard.append(decoder.push(part))
    heard.append(decoder.flush(last, samples=samples))
    np.testing.assert_array_equal(np.concatenate(heard, axis=1), live.decode(whole))
    assert decoder.samples == samples


def test_history_of_frames_is_carried_too(remembering: Codec) -> None:
    audio = noise(1, 50_000)
    codes = coded(remembering, audio, [1, 2, 319, 321, 5000, 40_000])
    np.testing.assert_array_equal(codes, remembering.encode(audio).codes)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_other_rates_give_what_the_whole_gives(live: Codec, rate: int) -> None:
    audio = noise(2, 3 * rate)
    whole = live.encode(audio, rate)
    codes = coded(live, audio, [1, 700, 701, rate, rate + 17], rate)
    np.testing.assert_array_equal(codes, whole.codes)
    decoder = live.decoder(rate, 2)
    parts = [decoder.push(part) for part in cut(codes[:, :, :-1], [1, 3, 90, 91])]
    heard = np.concatenate([*parts, decoder.flush(codes[:, :, -1:], samples=audio.shape[1])], axis=1)
    np.testing.assert_array_equal(heard, live.decode(whole))


def test_a_session_restored_at_another_rate_goes_on_within_rounding(live: Codec) -> None:
    """What soxr holds is computed again from the samples before."""
    codes = live.encode(noise(1, 48_000)).codes
    decoder = live.decoder(44_100)
    first = decoder.push(codes[:, :, :70])
    moved = live.decoder(44_100).restore(decoder.save())
    parts = [[each.push(codes[:, :, 70:]), each.flush()] for each in (decoder, moved)]
    expected, found = (np.concatenate([first, *part], axis=1) for part in parts)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_saved_sessions_are_arrays_that_numpy_keeps(live: Codec) -> None:
    audio = noise(2, 10_000)
    encoder = live.encoder(44_100, channels=2)
    encoder.push(audio[:, :7_777])
    file = BytesIO()
    np.savez(file, **encoder.save())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        other = live.encoder(44_100, channels=2).restore(kept)
    assert (other.samples, other.tokens) == (encoder.samples, encoder.tokens)
    ends = [np.concatenate([each.push(audio[:, 7_777:]), each.flush()], axis=2) for each in (encoder, other)]
    assert ends[0].shape == ends[1].shape


def test_two_threads_push_to_their_sessions_at_once(live: Codec) -> None:
    clips = [noise(1, 20_000, seed) for seed in range(2)]
    found: dict[int, Array] = {}

    def code(index: int) -> None:
        found[index] = coded(live, clips[index], list(range(0, 20_000, 777)))

    threads = [threading.Thread(target=code, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, clip in enumerate(clips):
        np.testing.assert_array_equal(found[index], live.encode(clip).codes)


def test_many_sessions_pushed_together_give_what_each_gives_alone(live: Codec) -> None:
    """Blocks of different lengths, encoders and decoders, one and two channels."""
    clips = [noise(1 + seed % 2, 3000 + 640 * (seed % 3), seed) for seed in range(9)]
    encoders = [live.encoder(channels=len(clip)) for clip in clips]
    decoder = live.decoder()
    known = live.encode(clips[0]).codes
    first = live.push_many([*encoders, decoder], [*(clip[:, :2000] for clip in clips), known])
    second = live.push_many(encoders, [clip[:, 2000:] for clip in clips])
    for clip, encoder, start, rest in zip(clips, encoders, first, second, strict=False):
        codes = np.concatenate([start, rest, encoder.flush()], axis=2)
        np.testing.assert_array_equal(codes, live.encode(clip).codes)
    np.testing.assert_array_equal(first[-1], live.decoder().push(known))


def test_equal_lengths_share_one_call(live: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    push = live.backend.push

    def counted(direction: str, given: Array, states: Sequence[object] = ()) -> tuple[Array, tuple[object, ...]]:
        rows.append(len(given))
        return push(direction, given, states)

    monkeypatch.setattr(live.backend, "push", counted)
    sessions = [live.encoder() for _ in range(6)]
    live.push_many(sessions, [noise(1, 640)[0]] * 5 + [noise(1, 960)[0]])
    assert sorted(rows) == [1, 5]


# What a session says


def test_a_new_session_and_one_that_was_reset_are_alike(live: Codec) -> None:
    audio = noise(1, 2000)
    encoder = live.encoder()
    before = encoder.save()
    encoder.push(noise(1, 1234, seed=7))
    encoder.flush()
    encoder.reset()
    for name, value in encoder.save().items():
        np.testing.assert_array_equal(value, before[name])
    codes = np.concatenate([encoder.push(audio), encoder.flush()], axis=2)
    np.testing.assert_array_equal(codes, live.encode(audio).codes)


def test_numbers_of_a_session(live: Codec) -> None:
    encoder, decoder = live.encoder(), live.decoder()
    assert (encoder.frame_samples, encoder.delay_samples, encoder.latency_seconds) == (UNIT, 0, UNIT / 48_000)
    assert (decoder.frame_samples, decoder.delay_samples, decoder.latency_seconds) == (UNIT, DELAY, DELAY / 48_000)
    assert live.encoder(44_100).frame_samples == 294
    assert "48000 Hz" in repr(encoder)


@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_resampling_is_counted_in_the_latency(live: Codec, rate: int) -> None:
    """Nothing that went in stays in longer than the session says."""
    encoder, decoder = live.encoder(rate), live.decoder(rate)
    for _ in range(150):
        codes = encoder.push(noise(1, rate // 100)[0])
        decoder.push(codes)
    inside = (encoder.samples - decoder.samples) / rate
    assert DELAY / 48_000 < inside <= encoder.latency_seconds + decoder.latency_seconds
    assert encoder.delay_samples / rate == pytest.approx(encoder.latency_seconds - UNIT / 48_000, abs=1 / rate)


def test_a_token_comes_out_as_soon_as_its_samples_are_there(live: Codec) -> None:
    encoder, decoder = live.encoder(), live.decoder()
    assert encoder.push(np.zeros(UNIT - 1, np.float32)).shape == (1, live.num_codebooks, 0)
    codes = encoder.push(np.zeros(1, np.float32))
    assert codes.shape == (1, live.num_codebooks, 1)
    assert decoder.push(codes).shape == (1, UNIT - DELAY)
    assert decoder.push(codes).shape == (1, UNIT)
    assert decoder.push(codes[:, :, :0]).shape == (1, 0)


def test_a_stream_without_samples_has_no_codes(live: Codec) -> None:
    assert live.encoder().flush().shape == (1, live.num_codebooks, 0)
    assert live.decoder().flush(samples=0).shape == (1, 0)


def test_without_a_count_all_that_codes_hold_comes_out(live: Codec) -> None:
    decoder = live.decoder()
    codes = live.encode(noise(1, 1000)).codes
    heard = decoder.push(codes).shape[1] + decoder.flush().shape[1]
    assert heard == codes.shape[2] * UNIT - DELAY
