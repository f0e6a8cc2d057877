"""Streams on a real Triton server, with a streamable model."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from triton_clients import Arrays, grpc_input, infer, post
from triton_server import TritonServer, repository
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from apcodec_deploy import Codec

pytestmark = pytest.mark.slow
ENCODE, DECODE = "apcodec_stream_encode", "apcodec_stream_decode"


@pytest.fixture
def client(live_server: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(f"127.0.0.1:{live_server.grpc}") as opened:
        yield opened


class Stream:
    """A client's stream: audio is coded by the server, and its codes are decoded by it, push by push."""

    def __init__(self, client: grpc.InferenceServerClient, name: int | str, rate: int = 48_000) -> None:
        self.client, self.name, self.rate = client, name, rate
        self.codes: list[NDArray[np.int32]] = []
        self.sound: list[NDArray[np.float32]] = []

    def push(self, block: NDArray[np.float32], *, last: bool = False) -> None:
        flags = {"sequence_id": self.name, "sequence_start": not self.codes, "sequence_end": last}
        audio = {"AUDIO": block[None], "SAMPLE_RATE": np.array([[self.rate]], np.int32)}
        coded = infer(self.client, ENCODE, audio, **flags)
        self.codes.append(coded["CODES"])
        self.sound.append(infer(self.client, DECODE, coded, **flags)["AUDIO"])

    def check(self, codec: Codec, clip: NDArray[np.float32]) -> None:
        """It gave what the codec gives for the whole clip."""
        whole = codec.encode(clip, self.rate)
        np.testing.assert_array_equal(np.concatenate(self.codes, axis=2), whole.codes)
        np.testing.assert_array_equal(np.concatenate(self.sound, axis=1)[0], codec.decode(whole))


def test_interleaved_streams_give_what_the_whole_gives(
    client: grpc.InferenceServerClient, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    """Names are numbers and texts; rates and lengths of pushes differ; one has pushes without a whole token."""
    clips = {
        7: speech[20_000:29_001],
        "Anna": speech[30_000:36_000],
        2**60: speech[40_000:43_000],
        "x" * 100: speech[:1],
    }
    streams = {
        name: Stream(client, name, rate) for name, rate in zip(clips, (48_000, 16_000, 44_100, 48_000), strict=True)
    }
    for number in range(10):
        for size, (name, clip) in zip((10, 10, 4, 7), clips.items(), strict=True):
            if number < size:
                bounds = (number * len(clip) // size, (number + 1) * len(clip) // size)
                streams[name].push(clip[slice(*bounds)], last=number == size - 1)
    for name, clip in clips.items():
        streams[name].check(live_alone, clip)


def test_64_streams_at_once_give_what_each_gives_alone(
    live_server: TritonServer, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    clips = [speech[start : start + 1500 + 320 * (start % 7)] for start in np.arange(64) * 3000]

    def one(number: int) -> Stream:
        with grpc.InferenceServerClient(f"127.0.0.1:{live_server.grpc}") as client:
            stream, blocks = Stream(client, number + 1), np.array_split(clips[number], 4)
            for block in blocks:
                stream.push(block, last=block is blocks[-1])
        return stream

    with ThreadPoolExecutor(len(clips)) as pool:
        for stream, clip in zip(pool.map(one, range(len(clips))), clips, strict=True):
            stream.check(live_alone, clip)
    pushes = live_server.metric("nv_inference_request_success", ENCODE)
    assert live_server.metric("nv_inference_exec_count", ENCODE) < pushes  # some were computed together
    assert live_server.metric("apcodec_streams", ENCODE) == live_server.metric("apcodec_streams", DECODE) == 0


NINE = np.zeros((1, 9), np.float32)


@pytest.mark.parametrize(
    ("model", "arrays", "message"),
    [
        (ENCODE, {"AUDIO": np.full((1, 9), np.nan, np.float32)}, "sample 1000 of channel 0 is nan"),
        (ENCODE, {"AUDIO": np.zeros((1, 2, 9), np.float32)}, "unexpected shape for input .AUDIO."),
        (ENCODE, {"AUDIO": np.zeros((2, 9), np.float32)}, "must specify batch-size 1"),
        (ENCODE, {"AUDIO": np.zeros((1, 3_000_000), np.float32)}, "62.5 s of audio in one request"),
        (ENCODE, {"AUDIO": NINE, "SAMPLE_RATE": np.array([[8000]], np.int32)}, "SAMPLE_RATE is 8000, and this stream"),
        (ENCODE, {"CODES": np.zeros((1, 4, 1), np.int32)}, "unexpected inference input .CODES."),
        (DECODE, {"CODES": np.zeros((1, 3, 1), np.int32)}, "unexpected shape for input .CODES."),
        (DECODE, {"CODES": np.full((1, 4, 1), 1024, np.int32)}, "codes from 1024 to 1024"),
    ],
)
def test_a_bad_push_is_told_why_and_the_stream_goes_on(
    model: str,
    arrays: Arrays,
    message: str,
    client: grpc.InferenceServerClient,
    live_alone: Codec,
    speech: NDArray[np.float32],
) -> None:
    clip = speech[20_000:23_000]
    stream = Stream(client, 99)
    stream.push(clip[:1000])
    with pytest.raises(InferenceServerException, match=message):
        infer(client, model, arrays, sequence_id=99)
    stream.push(clip[1000:], last=True)
    stream.check(live_alone, clip)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sequence_id": 5}, "must specify the START flag"),
        ({"sequence_id": 5, "sequence_end": True}, "must specify the START flag"),
        ({"sequence_id": 0, "sequence_start": True}, "must specify a non-zero or non-empty correlation ID"),
    ],
)
def test_a_stream_that_was_not_begun_is_told_so(
    flags: dict[str, Any], message: str, client: grpc.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        infer(client, ENCODE, {"AUDIO": NINE}, **flags)


def test_http_carries_streams_too(live_server: TritonServer, live_alone: Codec, speech: NDArray[np.float32]) -> None:
    clip = speech[20_000:21_000]
    first = post(live_server, ENCODE, {"AUDIO": clip[None, :500]}, sequence_id=3, sequence_start=True)
    last = post(live_server, ENCODE, {"AUDIO": clip[None, 500:]}, sequence_id=3, sequence_end=True)
    codes = np.concatenate([first["CODES"], last["CODES"]], axis=2)
    np.testing.assert_array_equal(codes, live_alone.encode(clip).codes)


def test_a_push_that_is_cancelled_harms_no_other_stream(
    client: grpc.InferenceServerClient, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    clip, beside = speech[20_000:24_000], Stream(client, 11)
    beside.push(clip[:1000])
    audio = [grpc_input("AUDIO", np.full((1, 480_000), 0.1, np.float32))]
    flags = {"sequence_id": 12, "sequence_start": True}
    calls = [client.async_infer(ENCODE, audio, lambda result, error: None, **flags) for _ in range(5)]
    time.sleep(0.1)
    for call in calls:
        call.cancel()
    with suppress(InferenceServerException):  # it goes on only if what was cancelled was being computed
        infer(client, ENCODE, {"AUDIO": NINE}, sequence_id=12, sequence_end=True)
    beside.push(clip[1000:], last=True)
    beside.check(live_alone, clip)


def test_a_stream_that_begins_again_is_a_new_one(
    client: grpc.InferenceServerClient, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    clip = speech[20_000:24_000]
    Stream(client, 13).push(clip[500:])  # and never ends
    again = Stream(client, 13)
    again.push(clip, last=True)
    again.check(live_alone, clip)


def only_streams(bundle: Path, folder: Path) -> Path:
    """A repository without the models for clips, which starts sooner."""
    models = repository(folder / "models", bundle)
    for other in set(models.iterdir()) - {models / ENCODE, models / DECODE}:
        shutil.rmtree(other)
    return models


def test_what_clients_leave_behind_is_freed(
    streamable_bundle: Path, tmp_path: Path, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    models = only_streams(streamable_bundle, tmp_path)
    for config in models.glob("*/config.pbtxt"):
        text = config.read_text()
        assert "max_sequence_idle_microseconds: 60000000" in text
        config.write_text(text.replace("microseconds: 60000000", "microseconds: 1000000"))
    with TritonServer(models, tmp_path / "log") as server:
        server.wait()
        with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as leaver:
            Stream(leaver, 1).push(speech[20_000:21_000])
            assert server.metric("apcodec_streams", ENCODE) == server.metric("apcodec_streams", DECODE) == 1
            for name in range(2, 21):
                Stream(leaver, name).push(speech[20_000:21_000])
        begun = time.monotonic()
        while any(server.metric("apcodec_streams", model) for model in (ENCODE, DECODE)):
            assert time.monotonic() < begun + 30, server.log()
            time.sleep(0.1)
        assert "streams forgotten: their clients went" in server.log()
        with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
            with pytest.raises(InferenceServerException, match="must specify the START flag"):
                infer(client, ENCODE, {"AUDIO": NINE}, sequence_id=5)
            stream = Stream(client, 5)
            stream.push(speech[30_000:33_000], last=True)
            stream.check(live_alone, speech[30_000:33_000])


def test_a_server_that_is_stopped_lets_streams_end(
    streamable_bundle: Path, tmp_path: Path, live_alone: Codec, speech: NDArray[np.float32]
) -> None:
    with TritonServer(only_streams(streamable_bundle, tmp_path), tmp_path / "log") as server:
        server.wait()
        with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
            stream = Stream(client, 5)
            stream.push(speech[30_000:31_000])
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(InferenceServerException, match="Server is stopping"):
                for name in range(6, 100):  # the signal takes a moment
                    Stream(client, name).push(speech[30_000:31_000], last=True)
                    time.sleep(0.05)
            stream.push(speech[31_000:33_000], last=True)
            stream.check(live_alone, speech[30_000:33_000])
        assert server.process.wait(30) == 0
