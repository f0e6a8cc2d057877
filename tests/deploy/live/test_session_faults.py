"""What goes wrong in a live session: the error says what to do, and the session is as it was."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from session_audio import noise

from apcodec_deploy import Codec
from apcodec_deploy.errors import AudioError, BackendError, BitstreamError, SessionError
from apcodec_deploy.live.session import Session

Array = NDArray[Any]


def test_a_push_that_fails_leaves_the_session_as_it_was(live: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = noise(1, 9000)
    sessions: list[Session] = [live.encoder(), live.encoder(44_100)]
    alone = live.encoder(44_100)
    first = [live.push_many(sessions, [audio[:, :3000]] * 2), alone.push(audio[:, :3000])]
    before = [session.save() for session in sessions]
    with monkeypatch.context() as patched:

        def broken(*_: object) -> None:
            raise BackendError("the device is gone")

        patched.setattr(live.backend, "push", broken)
        with pytest.raises(BackendError, match="gone"):
            live.push_many(sessions, [audio[:, 3000:]] * 2)
    for session, saved in zip(sessions, before, strict=True):
        for name, value in session.save().items():
            np.testing.assert_array_equal(value, saved[name], err_msg=name)
    codes = live.push_many(sessions, [audio[:, 3000:]] * 2)
    whole = np.concatenate([first[0][0], codes[0], sessions[0].flush()], axis=2)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(whole, live.encode(audio).codes)
    assert codes[1].shape == alone.push(audio[:, 3000:]).shape


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((2, 10), np.float32), r"\(1, samples\) is expected"),
        (np.zeros((1, 2, 3), np.float32), "is expected"),
        (np.zeros(10, np.int16), "floats with full scale at 1"),
        (np.array([0.0, np.nan]), "sample 5001 of channel 0 is nan"),
        (np.full(8, 20_000.0), "divide by 32768"),
    ],
)
def test_blocks_that_are_no_audio(live: Codec, block: Array, message: str) -> None:
    encoder = live.encoder()
    encoder.push(np.zeros(5000))
    with pytest.raises(AudioError, match=message):
        encoder.push(block)
    assert encoder.samples == 5000


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 4, 1), np.int16), r"integers \(1, 4, tokens\) are expected"),
        (np.zeros((1, 4, 1)), "integers"),
        (np.full((1, 4, 1), 1024), "this model has 0 to 1023"),
        (np.full((1, 4, 1), -1), "this model has 0 to 1023"),
    ],
)
def test_codes_that_are_none_of_the_model(live: Codec, codes: Array, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        live.decoder().push(codes)


def test_float16_blocks_are_coded(live: Codec) -> None:
    half = noise(1, 1000).astype(np.float16)
    encoder = live.encoder()
    codes = np.concatenate([encoder.push(half), encoder.flush()], axis=2)
    np.testing.assert_array_equal(codes, live.encode(half.astype(np.float32)).codes)


def test_after_flush_a_session_wants_a_reset(live: Codec) -> None:
    encoder = live.encoder()
    encoder.flush()
    with pytest.raises(SessionError, match="reset begins a new one"):
        encoder.push(np.zeros(3))
    with pytest.raises(SessionError, match="reset begins a new one"):
        encoder.flush()


def test_a_count_that_cannot_be(live: Codec) -> None:
    codes = live.encode(noise(1, 1000)).codes
    decoder = live.decoder()
    decoder.push(codes)
    with pytest.raises(SessionError, match="a stream of 5000 samples has 17 tokens, and 4 were given"):
        decoder.flush(samples=5000)
    with pytest.raises(
        SessionError, match="1000 samples have come out, and the stream has 999; give the last codes to flush"
    ):
        decoder.flush(samples=999)


def test_a_saved_session_goes_on_only_where_it_belongs(live: Codec, remembering: Codec) -> None:
    saved = live.encoder().save()
    for session, word in (
        (live.decoder(), "direction"),
        (live.encoder(44_100), "sample_rate"),
        (live.encoder(channels=2), "channels"),
        (remembering.encoder(), "model"),
    ):
        with pytest.raises(SessionError, match=word):
            session.restore(saved)
    with pytest.raises(SessionError, match="no saved session"):
        live.encoder().restore({"left": np.zeros(3)})
    name = next(name for name in saved if name.startswith("state_"))
    for wrong in (saved[name][:, 1:], saved[name].astype(np.float64)):
        with pytest.raises(SessionError, match=name.removeprefix("state_")):
            live.encoder().restore(saved | {name: wrong})


def test_sessions_that_cannot_be_pushed_together(live: Codec, remembering: Codec) -> None:
    one = live.encoder()
    block = np.zeros(5)
    for sessions, blocks, word in (
        ([one, one], [block, block], "twice"),
        ([one], [block, block], "one block for each"),
        ([one, remembering.encoder()], [block, block], "another codec's"),
    ):
        with pytest.raises(SessionError, match=word):
            live.push_many(sessions, blocks)
    assert live.push_many([], []) == []


def test_a_model_that_is_not_causal_has_no_sessions(codec: Codec) -> None:
    for make in (codec.encoder, codec.decoder):
        with pytest.raises(SessionError, match="apcodec-s"):
            make()
    with pytest.raises(SessionError, match="apcodec-s"):
        codec.push_many([], [])


def test_channels_and_rates_that_cannot_be(live: Codec) -> None:
    with pytest.raises(AudioError, match="channels"):
        live.encoder(channels=0)
    with pytest.raises(AudioError, match="sample rate"):
        live.decoder(0)


def test_a_session_is_not_pickled_but_saved(live: Codec) -> None:
    with pytest.raises(SessionError, match="save"):
        pickle.dumps(live.encoder())
