"""What the models of streams answer, without a server: each stream gets what its session gives for it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.errors import ApcodecError, BackendError
from apcodec_serving.services import Answer, Arrays, Limits
from apcodec_serving.streams import Name, Push, StreamDecodeService, StreamEncodeService

LIMITS = Limits(seconds=3.0)
IDLE = 10.0
SPEECH = slice(20_000, 40_000)


@pytest.fixture(scope="module")
def live(streamable_bundle: Path) -> Iterator[Codec]:
    with apcodec_deploy.load(streamable_bundle, threads=1) as codec:
        yield codec


@pytest.fixture
def encoding(live: Codec) -> StreamEncodeService:
    return StreamEncodeService(live, LIMITS, IDLE)


@pytest.fixture
def decoding(live: Codec) -> StreamDecodeService:
    return StreamDecodeService(live, LIMITS, IDLE)


def audio(block: NDArray[np.float32], rate: int | None = None) -> Arrays:
    found: dict[str, Any] = {"AUDIO": block[None]}
    return found if rate is None else {**found, "SAMPLE_RATE": np.array([[rate]], np.int32)}


def pushes(name: Name, blocks: Sequence[Arrays]) -> list[Push]:
    """A whole stream."""
    last = len(blocks) - 1
    return [Push(stream=name, first=index == 0, last=index == last, arrays=block) for index, block in enumerate(blocks)]


def arrays(answer: Answer) -> Arrays:
    assert not isinstance(answer, Exception), answer
    return answer


def refused(answer: Answer) -> str:
    assert isinstance(answer, ApcodecError), answer
    return str(answer)


def cut(clip: NDArray[np.float32], places: Sequence[int]) -> list[NDArray[np.float32]]:
    ends = [0, *sorted(min(place, len(clip)) for place in places), len(clip)]
    return [clip[start:stop] for start, stop in pairwise(ends)]


streams = st.lists(
    st.tuples(
        st.integers(1, 6000), st.sampled_from([48_000, 48_000, 16_000]), st.lists(st.integers(0, 6000), max_size=4)
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=20, deadline=None)
@given(streams=streams, order=st.randoms(use_true_random=False))
def test_interleaved_streams_give_what_each_gives_as_a_whole(
    live: Codec, speech: NDArray[np.float32], streams: list[tuple[int, int, list[int]]], order: Any
) -> None:
    """Calls hold pushes of any of them, of one even several; what encoding answers is decoded as it is."""
    encoding, decoding = StreamEncodeService(live, LIMITS, IDLE), StreamDecodeService(live, LIMITS, IDLE)
    waiting, clips = {}, {}
    for name, (samples, rate, places) in enumerate(streams):
        clips[name] = speech[SPEECH][3000 * name :][:samples], rate
        waiting[name] = pushes(name, [audio(block, rate) for block in cut(clips[name][0], places)])
    coded: dict[int, list[Arrays]] = {name: [] for name in waiting}
    heard: dict[int, list[Arrays]] = {name: [] for name in waiting}
    while any(waiting.values()):
        call = [waiting[name].pop(0) for name in order.choices(list(waiting), k=4) if waiting[name]]
        found = [arrays(answer) for answer in encoding.answers(call)]
        again = [
            Push(stream=push.stream, first=push.first, last=push.last, arrays=answer)
            for push, answer in zip(call, found, strict=True)
        ]
        for push, codes, sound in zip(call, found, decoding.answers(again), strict=True):
            assert isinstance(push.stream, int)
            coded[push.stream].append(codes)
            heard[push.stream].append(arrays(sound))
    assert len(encoding) == len(decoding) == 0
    for name, (clip, rate) in clips.items():
        whole = live.encode(clip, rate)
        np.testing.assert_array_equal(np.concatenate([each["CODES"] for each in coded[name]], axis=2), whole.codes)
        sound = np.concatenate([each["AUDIO"] for each in heard[name]], axis=1)
        np.testing.assert_array_equal(sound[0], live.decode(whole))
        assert coded[name][-1]["SAMPLES"].tolist() == [[len(clip)]]
        assert coded[name][-1]["SAMPLE_RATE"].tolist() == [[rate]]
        assert coded[name][-1]["FINGERPRINT"].tolist() == [[live.fingerprint[:16].encode()]]
        assert coded[name][-1]["CODES"].dtype == np.int32


def test_pushes_of_unlike_streams_are_computed_together(
    encoding: StreamEncodeService, live: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    compute = live.backend.push

    def counted(direction: str, audio: NDArray[Any], states: Any = ()) -> Any:
        rows.append(len(audio))
        return compute(direction, audio, states)

    monkeypatch.setattr(live.backend, "push", counted)
    block = np.zeros(960, np.float32)
    encoding.answers([Push(stream=name, first=True, arrays=audio(block)) for name in ("a", "b", 1, 2)])
    encoding.answers([Push(stream=name, arrays=audio(block)) for name in ("b", 2)])
    assert rows == [4, 2]


BAD_AUDIO = [
    (audio(np.full(9, np.nan, np.float32)), "sample 700 of channel 0 is nan"),
    (audio(np.zeros(9, np.float32), 44_100), "SAMPLE_RATE is 44100, and this stream is at 48000 Hz"),
    (audio(np.zeros(150_000, np.float32)), "3.1 s of audio in one request; this server takes 3 s"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_AUDIO)
def test_a_bad_push_is_told_why_and_the_stream_goes_on(
    encoding: StreamEncodeService, live: Codec, speech: NDArray[np.float32], bad: Arrays, message: str
) -> None:
    clip, other = speech[SPEECH][:5000], speech[SPEECH][7000:]
    blocks = [audio(clip[:700]), audio(clip[700:])]
    first, last = pushes("a", blocks)
    begun, beside = encoding.answers([first, Push(stream="b", first=True, arrays=audio(other[:900]))])
    wrong, more = encoding.answers(
        [Push(stream="a", arrays=bad), Push(stream="b", last=True, arrays=audio(other[900:]))]
    )
    assert message in refused(wrong)
    found = [arrays(begun), arrays(encoding.answers([last])[0])]
    np.testing.assert_array_equal(np.concatenate([each["CODES"] for each in found], axis=2), live.encode(clip).codes)
    found = [arrays(beside), arrays(more)]
    np.testing.assert_array_equal(np.concatenate([each["CODES"] for each in found], axis=2), live.encode(other).codes)


def codes(number: int, columns: int = 3, **more: NDArray[Any]) -> Arrays:
    return {"CODES": np.full((1, 4, columns), number, np.int32), **more}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (codes(1024), "codes from 1024 to 1024; this model has 0 to 1023"),
        (codes(-1), "codes from -1 to -1"),
        (codes(1, 9000), "s of audio in one request"),
        (codes(1, FINGERPRINT=np.array([[b"0123456789abcdef"]], np.object_)), "made by model '0123456789abcdef'"),
        (codes(1, SAMPLE_RATE=np.array([[0]], np.int32)), "SAMPLE_RATE is 0"),
    ],
)
def test_bad_codes_are_told_why_and_the_stream_goes_on(
    decoding: StreamDecodeService, live: Codec, bad: Arrays, message: str
) -> None:
    good = codes(5)
    begun = arrays(decoding.answers([Push(stream=1, first=True, arrays=good)])[0])
    assert message in refused(decoding.answers([Push(stream=1, arrays=bad)])[0])
    ended = arrays(decoding.answers([Push(stream=1, last=True, arrays=good)])[0])
    decoder = live.decoder()
    expected = [decoder.push(good["CODES"]), decoder.flush(good["CODES"])]
    np.testing.assert_array_equal(np.concatenate([begun["AUDIO"], ended["AUDIO"]], axis=1), np.hstack(expected))


@pytest.mark.parametrize(
    ("samples", "message"),
    [(-1, "SAMPLES is -1"), (99_999, "a stream of 99999 samples has"), (0, "of 0 samples has 0")],
)
def test_an_end_of_another_length_is_refused_and_ends_the_stream(
    decoding: StreamDecodeService, samples: int, message: str
) -> None:
    """Triton has ended it, too, so the client begins another."""
    end = codes(5, SAMPLES=np.array([[samples]], np.int64))
    first, last, late = decoding.answers(
        [*pushes(1, [codes(5), end]), Push(stream=1, arrays=codes(5))],
    )
    arrays(first)
    assert message in refused(last)
    assert "there is no stream 1" in refused(late)
    assert len(decoding) == 0


def test_what_has_not_begun_is_told_so(encoding: StreamEncodeService) -> None:
    for last in (False, True):
        (answer,) = encoding.answers([Push(stream="x", last=last, arrays=audio(np.zeros(9, np.float32)))])
        assert "there is no stream x" in refused(answer)
    assert len(encoding) == 0


def test_a_first_push_that_is_refused_can_be_put_right(encoding: StreamEncodeService, live: Codec) -> None:
    clip = np.sin(np.arange(2000, dtype=np.float32) / 7)
    for wrong in (audio(clip, 7), audio(clip * 1e6, 16_000)):
        refused(encoding.answers([Push(stream=1, first=True, arrays=wrong)])[0])
    (answer,) = encoding.answers([Push(stream=1, last=True, arrays=audio(clip, 16_000))])
    np.testing.assert_array_equal(arrays(answer)["CODES"], live.encode(clip, 16_000).codes)


def test_a_stream_that_begins_again_is_a_new_one(encoding: StreamEncodeService, live: Codec) -> None:
    clip = np.sin(np.arange(2000, dtype=np.float32) / 7)
    encoding.answers([Push(stream=1, first=True, arrays=audio(clip[::-1].copy()))])
    (answer,) = encoding.answers(pushes(1, [audio(clip)]))
    np.testing.assert_array_equal(arrays(answer)["CODES"], live.encode(clip).codes)


def test_a_stream_without_samples_has_no_codes(encoding: StreamEncodeService, decoding: StreamDecodeService) -> None:
    (answer,) = encoding.answers(pushes(1, [audio(np.zeros(0, np.float32))]))
    assert arrays(answer)["CODES"].shape == (1, 4, 0)
    (sound,) = decoding.answers(pushes(1, [arrays(answer)]))
    assert arrays(sound)["AUDIO"].shape == (1, 0)


def test_streams_whose_clients_are_gone_are_forgotten(live: Codec) -> None:
    now = 0.0
    service = StreamEncodeService(live, LIMITS, IDLE, lambda: now)
    block = audio(np.zeros(9, np.float32))
    service.answers([Push(stream=name, first=True, arrays=block) for name in (1, 2, 3)])
    now = 2 * IDLE
    assert service.forget_idle() == 0
    service.answers([Push(stream=1, arrays=block)])
    service.forget(2)
    now += 1
    assert (service.forget_idle(), len(service)) == (1, 1)
    kept, *gone = service.answers([Push(stream=name, arrays=block) for name in (1, 2, 3)])
    arrays(kept)
    for answer in gone:
        assert "nothing came for more than 10 s; begin it again" in refused(answer)


def test_what_fails_in_the_backend_leaves_every_stream_as_it_was(
    encoding: StreamEncodeService, live: Codec, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together, then each by itself, and all of it again."""
    clips = [speech[SPEECH][start:][:3000] for start in (0, 4000)]
    begun = encoding.answers(
        [Push(stream=name, first=True, arrays=audio(clip[:1000])) for name, clip in enumerate(clips)]
    )
    with monkeypatch.context() as patch:

        def broken(*_: Any) -> Any:
            raise BackendError("no memory")

        patch.setattr(live.backend, "push", broken)
        calls = [Push(stream=name, arrays=audio(clip[1000:])) for name, clip in enumerate(clips)]
        assert [refused(answer) for answer in encoding.answers(calls)] == ["no memory"] * 2
    ended = encoding.answers(
        [Push(stream=name, last=True, arrays=audio(clip[1000:])) for name, clip in enumerate(clips)]
    )
    for clip, *parts in zip(clips, begun, ended, strict=True):
        found = np.concatenate([arrays(part)["CODES"] for part in parts], axis=2)
        np.testing.assert_array_equal(found, live.encode(clip).codes)


def test_a_service_warms_up_what_it_needs(encoding: StreamEncodeService, decoding: StreamDecodeService) -> None:
    for service in (encoding, decoding):
        service.warm_up()
        assert len(service) == 0
