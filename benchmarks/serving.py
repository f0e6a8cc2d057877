"""Requests per second and latency of a Triton server, beside the same work in this process, in turns, in one run.

    apcodec triton models --backend onnxruntime --threads 1      then start Triton on it, and
    python benchmarks/serving.py localhost:8001 --threads 1 --instances 2

Clips are coded by so many clients at once, over gRPC and by threads of this process. As many of them compute at a time
as the server has instances. Every answer is compared. The overhead is the difference between the medians of one client.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile
from numpy.typing import NDArray
from tritonclient import grpc

import apcodec_deploy

CLIP = "examples/speech_female_48k.wav"
Encode = Callable[[], NDArray[np.integer]]


def over_grpc(url: str, clip: NDArray[np.float32]) -> Encode:
    client = grpc.InferenceServerClient(url)

    def encode() -> NDArray[np.integer]:
        audio = grpc.InferInput("AUDIO", [1, len(clip)], "FP32")
        audio.set_data_from_numpy(clip[None])
        return client.infer("apcodec_encode", [audio]).as_numpy("CODES")[0]

    return encode


def here(codec: apcodec_deploy.Codec, clip: NDArray[np.float32], instances: int) -> Encode:
    free = threading.Semaphore(instances)

    def encode() -> NDArray[np.integer]:
        with free:
            return codec.encode(clip).codes[0]

    return encode


def latencies(encode: Encode, clients: int, requests: int, expected: NDArray[np.integer]) -> tuple[float, list[float]]:
    """Seconds of everything, and of each request, sorted."""

    def one(_: int) -> float:
        begun = time.perf_counter()
        assert np.array_equal(encode(), expected)
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = sorted(pool.map(one, range(requests)))
    return time.perf_counter() - begun, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of Triton's gRPC service: localhost:8001")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a clip")
    parser.add_argument("--threads", type=int, default=1, help="of an instance")
    parser.add_argument("--instances", type=int, default=2, help="of the server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 64])
    parser.add_argument("--requests", type=int, default=128, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    audio, rate = soundfile.read(CLIP, dtype="float32")
    clip = np.ascontiguousarray(audio[: round(rate * options.seconds)])
    with apcodec_deploy.load(backend="onnxruntime", threads=options.threads) as codec:
        ways = {"this process": here(codec, clip, options.instances), "Triton, gRPC": over_grpc(options.url, clip)}
        expected = codec.encode(clip).codes[0]
        print("| clients | where | requests/s | p50, ms | p99, ms |\n|--:|---|--:|--:|--:|")
        for clients in options.clients:
            spent, found = dict.fromkeys(ways, 0.0), {way: list[float]() for way in ways}
            for _ in range(options.rounds):
                for way, encode in ways.items():
                    seconds, each = latencies(encode, clients, options.requests, expected)
                    spent[way] += seconds
                    found[way] += each
            for way, each in found.items():
                p50, p99 = np.percentile(each, [50, 99]) * 1e3
                print(f"| {clients} | {way} | {len(each) / spent[way]:.1f} | {p50:.1f} | {p99:.1f} |", flush=True)


if __name__ == "__main__":
    main()
