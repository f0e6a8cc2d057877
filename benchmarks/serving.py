"""Requests per second and latency of a Triton server, beside the same work in this process, in turns, in one run.

    apcodec triton models --backend onnxruntime --threads 1      then start Triton on it, and
    python benchmarks/serving.py localhost:8001 --threads 1 --instances 2
    python benchmarks/serving.py localhost:8001 --model demo-s --streams --seconds 0.02

Clips, or pushes of a stream for each client, are coded by so many clients at once: by threads of this process, by calls
over gRPC, and pushes also over one gRPC stream for all clients. As many compute at a time as the server has instances.
Every answer is compared. The overhead is the difference between the medians of one client.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tritonclient import grpc

import apcodec_deploy

CLIP = "examples/speech_female_48k.wav"
Codes = NDArray[np.integer]
Ask = Callable[[int], Codes]
"""A client's request of that number."""
Round = Callable[[int, int], list[float]]
"""Seconds of each request, for so many clients with so many requests each."""
STREAMS = count(1)
"""Names of streams."""


def asked_by_threads(client: Callable[[int], Ask], expected: list[Codes]) -> Round:
    def asked(clients: int, requests: int) -> list[float]:
        def one(_: int) -> list[float]:
            ask, spent = client(requests), []
            for number in range(requests):
                begun = time.perf_counter()
                codes = ask(number)
                spent.append(time.perf_counter() - begun)
                assert np.array_equal(codes, expected[number])
            return spent

        with ThreadPoolExecutor(clients) as pool:
            return [seconds for spent in pool.map(one, range(clients)) for seconds in spent]

    return asked


def audio_input(block: NDArray[np.float32]) -> list[Any]:
    tensor = grpc.InferInput("AUDIO", [1, len(block)], "FP32")
    tensor.set_data_from_numpy(block[None])
    return [tensor]


def flags(name: int, number: int, requests: int) -> dict[str, Any]:
    return {"sequence_id": name, "sequence_start": number == 0, "sequence_end": number == requests - 1}


def over_one_grpc_stream(client: grpc.InferenceServerClient, blocks: list[Any], expected: list[Codes]) -> Round:
    def asked(clients: int, requests: int) -> list[float]:
        names = [next(STREAMS) for _ in range(clients)]
        pushed, sent, spent, ended = (
            dict.fromkeys(names, 0),
            dict.fromkeys(names, 0.0),
            list[float](),
            threading.Event(),
        )

        def push(name: int) -> None:
            number, sent[name] = pushed[name], time.perf_counter()
            client.async_stream_infer(
                "apcodec_stream_encode",
                audio_input(blocks[number]),
                request_id=str(name),
                **flags(name, number, requests),
            )

        def answered(result: Any, error: Exception | None) -> None:
            assert error is None, error
            name = int(result.get_response().id)
            spent.append(time.perf_counter() - sent[name])
            assert np.array_equal(result.as_numpy("CODES")[0], expected[pushed[name]])
            pushed[name] += 1
            if pushed[name] < requests:
                push(name)
            elif len(spent) == clients * requests:
                ended.set()

        client.start_stream(answered)
        for name in names:
            push(name)
        assert ended.wait(300)
        client.stop_stream()
        return spent

    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of Triton's gRPC service: localhost:8001")
    parser.add_argument("--model", help="the server's bundle; the embedded demo model without it")
    parser.add_argument("--streams", action="store_true", help="push to streams, one for each client")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a clip, or of a push")
    parser.add_argument("--threads", type=int, default=1, help="of an instance")
    parser.add_argument("--instances", type=int, default=2, help="of the server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 64])
    parser.add_argument("--requests", type=int, default=128, help="in a round, of all clients")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    audio, rate = soundfile.read(CLIP, dtype="float32")
    samples = round(rate * options.seconds)
    with (
        apcodec_deploy.load(options.model, "onnxruntime", threads=options.threads) as codec,
        grpc.InferenceServerClient(options.url) as server,
    ):
        free = threading.Semaphore(options.instances)

        def clip_here(_: int) -> Ask:
            def encode(number: int) -> Codes:
                with free:
                    return codec.encode(blocks[number]).codes[0]

            return encode

        def clip_there(_: int) -> Ask:
            return lambda number: server.infer("apcodec_encode", audio_input(blocks[number])).as_numpy("CODES")[0]

        def stream_here(requests: int) -> Ask:
            session = codec.encoder()

            def push(number: int) -> Codes:
                with free:
                    last = number == requests - 1
                    return (session.flush(blocks[number]) if last else session.push(blocks[number]))[0]

            return push

        def stream_there(requests: int) -> Ask:
            name = next(STREAMS)

            def push(number: int) -> Codes:
                marks = flags(name, number, requests)
                return server.infer("apcodec_stream_encode", audio_input(blocks[number]), **marks).as_numpy("CODES")[0]

            return push

        print("| clients | where | requests/s | p50, ms | p99, ms |\n|--:|---|--:|--:|--:|")
        for clients in options.clients:
            requests = max(options.requests // clients, 2)
            if options.streams:
                blocks = [np.roll(audio, -number * samples)[:samples].copy() for number in range(requests)]
                alone = stream_here(requests)
                expected = [alone(number) for number in range(requests)]
                ways = {
                    "this process": asked_by_threads(stream_here, expected),
                    "Triton, calls": asked_by_threads(stream_there, expected),
                    "Triton, a gRPC stream": over_one_grpc_stream(server, blocks, expected),
                }
            else:
                blocks = [np.ascontiguousarray(audio[:samples])] * requests
                expected = [codec.encode(blocks[0]).codes[0]] * requests
                ways = {
                    "this process": asked_by_threads(clip_here, expected),
                    "Triton, calls": asked_by_threads(clip_there, expected),
                }
            spent, found = dict.fromkeys(ways, 0.0), {way: list[float]() for way in ways}
            for _ in range(options.rounds):
                for way, ask in ways.items():
                    begun = time.perf_counter()
                    found[way] += ask(clients, requests)
                    spent[way] += time.perf_counter() - begun
            for way, each in found.items():
                p50, p99 = np.percentile(each, [50, 99]) * 1e3
                print(f"| {clients} | {way} | {len(each) / spent[way]:.1f} | {p50:.1f} | {p99:.1f} |", flush=True)


if __name__ == "__main__":
    main()
