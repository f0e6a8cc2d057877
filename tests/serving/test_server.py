"""A real Triton server with the repository that ``apcodec triton`` writes, on loopback."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from triton_clients import Arrays, Ask, grpc_input, over_grpc, over_http
from triton_server import TritonServer, repository
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from apcodec_deploy import Codec
from apcodec_deploy.bundle import Bundle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("ask", [over_grpc, over_http])
@pytest.mark.parametrize(("samples", "rate", "rows"), [(20_000, 22_050, 2), (1, 48_000, 1), (150_000, 48_000, 1)])
def test_the_server_codes_as_the_codec_does(
    ask: Ask, samples: int, rate: int, rows: int, server: TritonServer, alone: Codec, speech: NDArray[np.float32]
) -> None:
    clips = np.stack([speech[start : start + samples] for start in (30_000, 60_000)[:rows]])
    coded = ask(server, "apcodec_encode", AUDIO=clips, SAMPLE_RATE=np.full((rows, 1), rate, np.int32))
    expected = [alone.encode(clip, rate) for clip in clips]
    np.testing.assert_array_equal(coded["CODES"], np.stack([each.codes[0] for each in expected]))
    (audio,) = ask(server, "apcodec_decode", **coded).values()
    np.testing.assert_array_equal(audio, np.stack([alone.decode(each) for each in expected]))


def test_64_clients_at_once_get_what_each_gets_alone(
    server: TritonServer, alone: Codec, speech: NDArray[np.float32]
) -> None:
    starts = np.arange(64) * 3000
    clips = [speech[start : start + 2000 + 500 * (start % 5)] for start in starts]
    rates = [(48_000, 44_100, 16_000)[number % 3] for number in range(len(clips))]
    expected = [alone.encode(clip, rate) for clip, rate in zip(clips, rates, strict=True)]

    def client(number: int) -> bool:
        rate = np.array([[rates[number]]], np.int32)
        coded = over_grpc(server, "apcodec_encode", AUDIO=clips[number][None], SAMPLE_RATE=rate)
        return np.array_equal(coded["CODES"][0], expected[number].codes[0])

    with ThreadPoolExecutor(len(clips)) as pool:
        assert all(pool.map(client, range(len(clips))))


def still_right(server: TritonServer, alone: Codec) -> None:
    clip = np.sin(np.arange(3000, dtype=np.float32) / 9)
    coded = over_grpc(server, "apcodec_encode", AUDIO=clip[None])
    np.testing.assert_array_equal(coded["CODES"][0], alone.encode(clip).codes[0])


def test_clients_that_vanish_harm_nobody(server: TritonServer, alone: Codec) -> None:
    request = json.dumps(
        {"inputs": [{"name": "AUDIO", "datatype": "FP32", "shape": [1, 48000], "data": [0.1] * 48000}]}
    ).encode()
    head = f"POST /v2/models/apcodec_encode/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request)}\r\n\r\n"
    for sent in (request[:1000], request):  # in the middle of a request, and before the answer
        with socket.create_connection(("127.0.0.1", server.http)) as client:
            client.sendall(head.encode() + sent)
    with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as leaver:
        audio = [grpc_input("AUDIO", np.full((1, 240_000), 0.1, np.float32))]
        calls = [leaver.async_infer("apcodec_encode", audio, lambda result, error: None) for _ in range(20)]
        time.sleep(0.2)
        for call in calls:
            call.cancel()
    begun = time.monotonic()
    still_right(server, alone)
    answered = time.monotonic()
    alone.encode(np.full(240_000, 0.1, np.float32))
    # The answer comes after what was being computed. All 20 requests would take ten times as long on two instances.
    assert answered - begun < 5 * (time.monotonic() - answered)


ZEROS = np.zeros((1, 4, 10), np.int32)


@pytest.mark.parametrize(
    ("model", "arrays", "message"),
    [
        ("apcodec_encode", {"AUDIO": np.zeros((1, 0), np.float32)}, "at least 1 is expected"),
        ("apcodec_encode", {"AUDIO": np.full((1, 9), np.nan, np.float32)}, "sample 0 of channel 0 is nan"),
        ("apcodec_encode", {"AUDIO": np.zeros((1, 2, 9), np.float32)}, "unexpected shape for input 'AUDIO'"),
        ("apcodec_encode", {"AUDIO": np.zeros((17, 9), np.float32)}, "batch-size must be <= 16"),
        ("apcodec_encode", {"AUDIO": np.zeros((1, 50_000_000), np.float32)}, "1041.7 s of audio in one request"),
        ("apcodec_encode", {"CODES": ZEROS}, "unexpected inference input 'CODES'"),
        ("apcodec_decode", {"CODES": ZEROS[:, :3]}, "unexpected shape for input 'CODES'"),
        ("apcodec_decode", {"CODES": ZEROS + 1024}, "codes from 1024 to 1024"),
        ("apcodec_decode", {"CODES": ZEROS, "FINGERPRINT": np.array([[b"0" * 16]], object)}, "made by model"),
        ("apcodec_stream_encode", {"AUDIO": np.zeros((1, 9), np.float32)}, "unknown model"),
    ],
)
def test_a_bad_request_is_told_why_and_the_server_goes_on(
    model: str, arrays: Arrays, message: str, server: TritonServer, alone: Codec
) -> None:
    with pytest.raises(InferenceServerException, match=message.replace("'", ".")):
        over_grpc(server, model, **arrays)
    still_right(server, alone)


def test_what_is_no_request_is_told_so(server: TritonServer, alone: Codec) -> None:
    for body in (b"", b"{", b"[]", b'{"inputs": []}', b'{"inputs": [{"name": "AUDIO"}]}'):
        status, answer = server.post("apcodec_encode", body)
        assert 400 <= status <= 500 and answer["error"]
    still_right(server, alone)


def test_a_server_whose_bundle_is_gone_is_never_ready_and_says_why(tmp_path: Path) -> None:
    bundle = Bundle.embedded()
    folder = repository(tmp_path / "models")
    for config in folder.glob("*/config.pbtxt"):
        config.write_text(config.read_text().replace(bundle.fingerprint, "0" * 64))
    with TritonServer(folder, tmp_path / "log") as server:
        while server.process.poll() is None:
            assert not server.ready()
            time.sleep(0.1)
        assert server.process.returncode != 0
        assert "the repository was written for 0000000000000000: write it again" in server.log()


def test_a_server_answers_as_soon_as_it_is_ready_and_drains_when_it_is_stopped(
    tmp_path: Path, alone: Codec, speech: NDArray[np.float32]
) -> None:
    with TritonServer(repository(tmp_path / "models"), tmp_path / "log") as server:
        server.wait()
        with ThreadPoolExecutor(6) as pool:
            clips = [speech[start : start + 96_000] for start in range(0, 60_000, 10_000)]
            answers = [pool.submit(over_grpc, server, "apcodec_encode", AUDIO=clip[None]) for clip in clips]
            accepted = 0.0
            while accepted < len(clips) - 2 and not any(answer.done() for answer in answers):  # two are computed
                accepted = server.metric("nv_inference_pending_request_count", "apcodec_encode")
            server.process.send_signal(signal.SIGTERM)
            answered = 0
            for clip, answer in zip(clips, answers, strict=True):
                if (error := answer.exception()) is not None:  # it came after the signal
                    assert re.search("Server is stopping|no available versions|UNAVAILABLE", str(error))
                    continue
                np.testing.assert_array_equal(answer.result()["CODES"][0], alone.encode(clip).codes[0])
                answered += 1
        assert answered >= max(accepted, 1)
        assert server.process.wait(30) == 0
        assert not server.ready()
