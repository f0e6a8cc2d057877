"""On a real GPU: the device layer, ONNX Runtime on CUDA, and TensorRT from build to audio.

These are also what ``scripts/gpu`` runs: the acceptance test of a machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.backends.onnxruntime_cuda import open_cuda
from apcodec_deploy.backends.tensorrt import TensorRTBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device, Part
from apcodec_deploy.engines.flavour import Flavour
from apcodec_deploy.errors import BackendError, DeviceError
from apcodec_engines.building import build_engines
from apcodec_engines.planning import BuildOptions

pytestmark = pytest.mark.gpu
Array = NDArray[np.float32]
_NOISE = 2.0
"""Two timings of the same work differ by less, the shortest of several, on a busy CPU that simulates, too. A unit taken
for another is a factor of a thousand."""


def snr(expected: Array, found: Array) -> float:
    """Signal to noise ratio in dB."""
    noise = np.square(expected.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-30)))


@pytest.fixture(scope="module")
def clips(speech: Array) -> list[Array]:
    """Odd lengths, a long one, stereo, and a very short one."""
    return [speech[:200_001], speech[30_000:51_111], np.stack([speech[:70_000], speech[90_000:160_000]]), speech[:99]]


def test_bytes_go_to_the_gpu_and_back(device: Device) -> None:
    with device.active():
        stream, memory, host = device.stream(), device.allocate(1 << 20), device.pin(1 << 20)
        sent = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
        host.bytes[:] = sent
        device.upload(memory, host.bytes, stream)
        stream.synchronize()
        host.bytes[:] = 0
        device.download(host.bytes, memory, stream)
        event = device.event()
        event.record(stream)
        event.synchronize()
        np.testing.assert_array_equal(host.bytes, sent)
        memory.free()
        host.free()


def test_bytes_are_copied_and_cleared_within_the_gpu(device: Device) -> None:
    with device.active():
        stream, host = device.stream(), device.pin(4096)
        one, other = device.allocate(4096), device.allocate(4096)
        sent = np.random.default_rng(1).integers(1, 256, 4096, np.uint8)
        host.bytes[:] = sent
        device.upload(one, host.bytes, stream)
        device.copy(other, one, stream)
        device.copy(Part(other, 512, 64), Part(one, 100, 64), stream)
        device.clear(Part(other, 1024, 100), stream)
        device.download(host.bytes, other, stream)
        stream.synchronize()
        expected = sent.copy()
        expected[512:576], expected[1024:1124] = sent[100:164], 0
        np.testing.assert_array_equal(host.bytes, expected)
        for held in (one, other, host):
            held.free()


def test_streams_wait_for_events(device: Device) -> None:
    with device.active():
        first, second, event = device.stream(), device.stream(), device.event()
        memory, host, back = device.allocate(1 << 24), device.pin(1 << 24), device.pin(1 << 24)
        for value in range(5):
            host.bytes[:] = value
            device.upload(memory, host.bytes, first)
            event.record(first)
            second.wait_for_event(event)
            device.download(back.bytes, memory, second)
            second.synchronize()
            assert (back.bytes == value).all()
        for held in (memory, host, back):
            held.free()


def test_events_tell_the_time_between_them(device: Device) -> None:
    size = 1 << 26
    with device.active():
        stream, memory, host = device.stream(), device.allocate(size), device.pin(size)
        start, end, untimed = device.event(timed=True), device.event(timed=True), device.event()
        begun = time.perf_counter()
        start.record(stream)
        device.upload(memory, host.bytes, stream)
        for event in (end, untimed):
            event.record(stream)
        stream.synchronize()
        waited = 1000 * (time.perf_counter() - begun)
        assert 0.05 < end.time_since(start) <= waited  # 64 MiB at 1.3 TB/s, which no bus has
        memory.free()
        host.free()
    with pytest.raises(DeviceError), device.active():
        untimed.time_since(start)


def test_recorded_work_is_replayed(device: Device) -> None:
    with device.active():
        stream, memory, host = device.stream(), device.allocate(64), device.pin(64)
        graph = device.record(stream, lambda: device.upload(memory, host.bytes, stream))
        back = device.pin(64)
        for value in (1, 2):
            host.bytes[:] = value
            graph.launch(stream)
            device.download(back.bytes, memory, stream)
            stream.synchronize()
            assert (back.bytes == value).all()
        graph.free()
        for held in (memory, host, back):
            held.free()


@pytest.mark.parametrize(("precision", "agreement", "decibels"), [("float32", 0.97, 60), ("float16", 0.93, 40)])
@pytest.mark.usefixtures("device")
def test_onnx_runtime_on_cuda_gives_what_the_cpu_gives(
    codec: Codec, clips: list[Array], precision: str, agreement: float, decibels: float
) -> None:
    try:
        backend = open_cuda(Bundle.embedded(), precision=precision)
    except BackendError as error:
        if os.environ.get("APCODEC_REQUIRE_GPU"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    compare(codec, Codec(Bundle.embedded(), backend), clips, agreement, decibels)


@pytest.fixture(params=["float32", "float16"])
def tensorrt(request: pytest.FixtureRequest, flavour: Flavour, profile: str) -> Callable[..., Codec]:
    """Build engines, which checks them, and load them."""
    options = BuildOptions(flavour=flavour.name, precision=request.param, profile=profile)

    def build(*, parts: bool = False) -> Codec:
        said: list[str] = []
        built = build_engines(Bundle.embedded(), replace(options, parts=parts), say=said.append)
        assert not [line for line in said if line.startswith("WARNING")], said
        assert all(engine.check and engine.check["passed"] for engine in built.stored.manifest.engines)
        return apcodec_deploy.load(backend="tensorrt", engines=built.stored.path)

    return build


@pytest.mark.parametrize("parts", [False, True], ids=["joined", "parts"])
def test_tensorrt_gives_what_the_cpu_gives(
    codec: Codec, clips: list[Array], tensorrt: Callable[..., Codec], parts: bool
) -> None:
    with tensorrt(parts=parts) as found:
        half = found.backend.precision == "float16"
        compare(codec, found, clips, 0.93 if half else 0.97, 40 if half else 60)


def test_tensorrt_repeats_itself_with_and_without_recordings(tensorrt: Callable[..., Codec], speech: Array) -> None:
    with tensorrt() as found:
        runs = [found.encode(speech[:150_000]).codes for _ in range(4)]  # plain, recorded, replayed twice
        for other in runs[1:]:
            np.testing.assert_array_equal(runs[0], other)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_tensorrt_computes_no_longer_than_a_call_takes(
    tensorrt: Callable[..., Codec], speech: Array, count: int, direction: str
) -> None:
    with tensorrt() as found:
        backend = found.backend
        assert isinstance(backend, TensorRTBackend)
        samples = found.layout().length * found.samples_per_latent - 1  # a window: single ones are recorded
        rows: Any = np.stack([speech[9000 * row :][:samples] for row in range(count)])
        call: Callable[..., NDArray[Any]] = backend.encode
        if direction == "decode":
            rows, call = backend.encode(rows), backend.decode
        expected = call(rows)
        device_seconds, host_seconds = [], []
        for turn in range(10):  # the first ones may be slow for other reasons, and so may any on a busy machine
            begun = time.perf_counter()
            result = call(rows)
            host_seconds.append(time.perf_counter() - begun)
            device_seconds.append(backend.device_seconds(direction, rows))
            assert np.array_equal(result, expected)
            if turn >= 2 and min(device_seconds) < _NOISE * min(host_seconds):
                break
        assert 0 < min(device_seconds) < _NOISE * min(host_seconds)


def test_tensorrt_takes_threads_and_batches(tensorrt: Callable[..., Codec], clips: list[Array]) -> None:
    shorter = clips[1:]
    with tensorrt() as found:
        alone = [found.encode(clip).codes for clip in shorter]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda clip: found.encode(clip).codes, shorter * 3))
        for index, codes in enumerate(together):
            assert (codes == alone[index % len(shorter)]).mean() > 0.99


def test_tensorrt_works_beside_pytorch(tensorrt: Callable[..., Codec], speech: Array) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    matrix = torch.randn(512, 512, device="cuda")
    before = (matrix @ matrix).cpu()
    with tensorrt() as found:
        found.decode(found.encode(speech[:50_000]))
        torch.testing.assert_close((matrix @ matrix).cpu(), before)
        found.decode(found.encode(speech[:50_000]))
    torch.testing.assert_close((matrix @ matrix).cpu(), before)


def test_closing_gives_the_memory_back(device: Device, tensorrt: Callable[..., Codec], speech: Array) -> None:
    sizes = []
    for _ in range(3):
        with tensorrt() as found:
            found.decode(found.encode(speech[:50_000]))
        with device.active():
            sizes.append(device.free_memory())
    assert max(sizes) - min(sizes) < 64 << 20


def compare(expected: Codec, found: Codec, clips: list[Array], agreement: float, decibels: float) -> None:
    """Codes from audio, and audio from the same codes, in one go and in batches."""
    theirs = expected.encode_batch(clips)
    ours = found.encode_batch(clips)
    equal = np.concatenate([(a.codes == b.codes).ravel() for a, b in zip(ours, theirs, strict=True)])
    assert equal.mean() >= agreement
    for clip, audio in zip(theirs, found.decode_batch(theirs), strict=True):
        reference = expected.decode(clip)
        assert audio.shape == reference.shape
        assert snr(reference, audio) >= decibels
