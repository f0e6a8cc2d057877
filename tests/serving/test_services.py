"""What the server's models answer, without a server: each request gets what the codec gives for it alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy import Codec
from apcodec_deploy.errors import ApcodecError
from apcodec_serving.services import Answer, Arrays, DecodeService, EncodeService, Limits

LIMITS = Limits(seconds=3.0)


def request(audio: NDArray[np.float32], rate: int | None = None) -> Arrays:
    found: dict[str, Any] = {"AUDIO": audio}
    return found if rate is None else {**found, "SAMPLE_RATE": np.full((len(audio), 1), rate, np.int32)}


def arrays(answer: Answer) -> Arrays:
    assert not isinstance(answer, Exception), answer
    return answer


def refused(answer: Answer) -> str:
    assert isinstance(answer, ApcodecError)
    return str(answer)


def test_everybody_gets_what_he_gets_alone(codec: Codec, speech: NDArray[np.float32]) -> None:
    """Lengths, rates and numbers of rows are mixed, and one of the requests is wrong."""
    good = [
        request(speech[None, 9000:18000]),
        request(np.stack([speech[:5000], speech[9000:14000]]), 16000),
        request(speech[None, :1], 44100),
        request(speech[None, 20000:29000]),
        request(speech[None, 9000:14000], 16000),
    ]
    wrong = request(np.full((1, 9000), np.nan, np.float32))
    *answers, last = EncodeService(codec, LIMITS).answers([*good, wrong])
    assert "row 0: sample 0 of channel 0 is nan" in refused(last)
    rates = [48000, 16000, 44100, 48000, 16000]
    decoded = DecodeService(codec, LIMITS).answers([arrays(answer) for answer in answers])
    for asked, rate, answer, audio in zip(good, rates, answers, decoded, strict=True):
        coded = [codec.encode(row, rate) for row in asked["AUDIO"]]
        found = arrays(answer)
        np.testing.assert_array_equal(found["CODES"], np.stack([each.codes[0] for each in coded]))
        assert found["CODES"].dtype == np.int32
        assert found["SAMPLES"].tolist() == [[each.samples] for each in coded]
        assert found["SAMPLE_RATE"].tolist() == [[rate]] * len(coded)
        assert found["FINGERPRINT"].tolist() == [[codec.fingerprint[:16].encode()]] * len(coded)
        np.testing.assert_array_equal(arrays(audio)["AUDIO"], np.stack([codec.decode(each) for each in coded]))


@given(latents=st.integers(1, 3000), rate=st.integers(1000, 768_000))
def test_codes_without_a_length_stand_for_as_much_audio_as_they_can(codec: Codec, latents: int, rate: int) -> None:
    service = DecodeService(codec, Limits(seconds=1e9))
    asked = {"CODES": np.zeros((1, 4, latents), np.int32), "SAMPLE_RATE": np.array([[rate]], np.int32)}
    (coded,) = service.read(asked)
    one_more = {**asked, "SAMPLES": np.array([[coded.samples + 2]], np.int64)}
    assert coded.header.latents == latents
    if rate <= codec.sample_rate:  # else several lengths come to the same one at the model's rate
        assert "SAMPLES is" in refused(service.answers([one_more])[0])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(np.zeros((1, 0), np.float32)), "at least 1 is expected"),
        (request(np.zeros((1, 9), np.float32), 7), "a sample rate of 7 Hz"),
        (request(np.zeros((2, 80_000), np.float32)), "3.3 s of audio in one request; this server takes 3 s"),
        (
            {"AUDIO": np.zeros((2, 9), np.float32), "SAMPLE_RATE": np.array([[8000], [16000]], np.int32)},
            "SAMPLE_RATE differs between the rows",
        ),
    ],
)
def test_audio_that_cannot_be_coded_is_named(codec: Codec, asked: Arrays, message: str) -> None:
    assert message in refused(EncodeService(codec, LIMITS).answers([asked])[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"CODES": np.zeros((1, 4, 0), np.int32)}, "at least one column is expected"),
        ({"CODES": np.full((1, 4, 3), 65536, np.int32)}, "codes from 65536 to 65536; this model has 0 to 1023"),
        ({"CODES": np.full((1, 4, 3), -1, np.int32)}, "codes from -1 to -1"),
        ({"CODES": np.zeros((1, 4, 9000), np.int32)}, "60.0 s of audio in one request"),
        ({"SAMPLES": np.array([[0]], np.int64)}, "SAMPLES is 0; at least 1 is expected"),
        ({"SAMPLES": np.array([[960]], np.int64)}, "SAMPLES is 960 at 48000 Hz, which make 4 columns; CODES has 3"),
        (
            {"FINGERPRINT": np.array([[b"0123456789abcdef"]], np.object_)},
            "made by model '0123456789abcdef'",
        ),
        ({"SAMPLE_RATE": np.array([[0]], np.int32)}, "a sample rate of 0 Hz"),
    ],
)
def test_codes_that_cannot_be_decoded_are_named(codec: Codec, changed: Arrays, message: str) -> None:
    asked = {"CODES": np.zeros((1, 4, 3), np.int32), **changed}
    assert message in refused(DecodeService(codec, LIMITS).answers([asked])[0])


def test_a_fault_of_ours_in_one_request_leaves_the_others_their_answers(
    codec: Codec, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codec.backend.encode

    def broken(audio: NDArray[np.float32]) -> NDArray[np.int32]:
        if audio.shape[1] == 700:
            raise ZeroDivisionError("a bug")
        return whole(audio)

    monkeypatch.setattr(codec.backend, "encode", broken)
    first, second, third = EncodeService(codec, LIMITS).answers(
        [request(speech[None, :length]) for length in (900, 700, 800)]
    )
    assert isinstance(second, ZeroDivisionError)
    np.testing.assert_array_equal(arrays(first)["CODES"], codec.encode(speech[:900]).codes)
    np.testing.assert_array_equal(arrays(third)["CODES"], codec.encode(speech[:800]).codes)


def test_a_service_warms_up_what_it_needs(codec: Codec) -> None:
    for service in (EncodeService, DecodeService):
        service(codec, Limits(seconds=0.001)).warm_up()
