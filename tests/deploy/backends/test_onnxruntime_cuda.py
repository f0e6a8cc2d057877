"""ONNX Runtime on CUDA end to end on a simulated GPU and provider: what is queued, recorded, copied and freed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.machine import one_by_one
from gpu_simulator.onnxruntime import OnnxRuntime, Session
from numpy.typing import NDArray

from apcodec_deploy.backends import onnxruntime as by_graph
from apcodec_deploy.backends import onnxruntime_cuda as module
from apcodec_deploy.backends import sessions
from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.card import CardUse
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.onnxruntime_cuda import CudaBackend, open_cuda
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import Codec
from apcodec_deploy.cuda import driver
from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.errors import BackendError, MissingDependencyError
from apcodec_deploy.families import ALL_GRAPHS

WINDOW = Bundle.embedded().spec.layout().length
FULL = Bundle.embedded().spec.samples_range(WINDOW)[1]


class Card:
    """A machine with a simulated GPU and ONNX Runtime's GPU build."""

    def __init__(self, patch: pytest.MonkeyPatch, **options: Any) -> None:
        self.cuda = Cuda(**options)
        self.device = PycudaDevice(self.cuda, Library(self.cuda), 0)
        self.ort = OnnxRuntime(self.cuda)
        for each in (by_graph, module, sessions):
            patch.setattr(each, "onnxruntime", self.ort)
        patch.setattr(module, "open_device", lambda index: self.device)

    def backend(self, batch: int = 4, bundle: Bundle | None = None, **options: Any) -> CudaBackend:
        use = CardUse(batch=batch, limits=dict.fromkeys(ALL_GRAPHS, 1 << 30))
        settings = {"precision": "float32", "threads": 1, "reason": "asked for", "use": use, **options}
        bundle = bundle or Bundle.embedded()
        return CudaBackend(bundle, self.device, beyond=lambda: OnnxRuntimeBackend(bundle, threads=1), **settings)

    def sessions(self, output: str) -> list[Session]:
        return [each for each in self.ort.sessions if each.get_outputs()[0].name == output]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    made = Card(monkeypatch)
    yield made


def agree(backend: CudaBackend, rows: NDArray[np.float32], reference: OnnxRuntimeBackend) -> None:
    codes, decoded = one_by_one(reference, rows)
    np.testing.assert_array_equal(backend.encode(rows), codes)
    np.testing.assert_allclose(backend.decode(codes), decoded, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("count", "samples"), [(1, 6399), (2, 161), (5, 6399), (9, 1031), (3, 12_345)])
def test_any_number_of_clips_of_any_length_gets_what_each_gets_alone(
    card: Card, rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend, count: int, samples: int
) -> None:
    backend = card.backend(batch=2)
    agree(backend, rows(count, samples), reference)
    backend.close()
    assert (card.cuda.allocations, card.cuda.pinned) == ({}, [])


@pytest.mark.parametrize("schedule", range(4))
def test_no_order_in_which_a_gpu_may_work_changes_anything(
    monkeypatch: pytest.MonkeyPatch,
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    schedule: int,
) -> None:
    agree(Card(monkeypatch, schedule=schedule).backend(batch=1), rows(5, 1600), reference)


def test_windows_are_recorded_once_for_each_slot_and_replayed(
    card: Card, rows: Callable[..., NDArray[np.float32]], grn_bundle: Path
) -> None:
    bundle = Bundle.open(grn_bundle)
    backend = card.backend(batch=2, bundle=bundle)
    window, tail = rows(1, bundle.spec.samples_range(bundle.spec.layout().length)[1]), rows(1, 1000)
    codes = OnnxRuntimeBackend(bundle, threads=1).encode(window)
    for _ in range(3):
        np.testing.assert_array_equal(backend.encode(window), codes)
        backend.encode(tail)  # other shapes in between
    (encoder,) = card.sessions("latent")[:1]
    assert encoder.records
    assert list(encoder.recorded) == ["1"]  # the first slot, a single window; tails are not recorded
    assert encoder.replays == 2
    several = np.repeat(window, 8, axis=0)
    np.testing.assert_array_equal(backend.encode(several), np.repeat(codes, 8, axis=0))
    assert set(encoder.recorded) == {"1", "2", "3", "4"}  # pairs of windows, in each of three slots
    assert encoder.replays == 3  # the fourth pair


def test_only_audio_and_codes_are_copied_and_the_host_waits_for_nothing_else(
    card: Card, rows: Callable[..., NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = card.backend(batch=2)
    audio = rows(2, 3199)
    codes = backend.encode(audio)
    copied: list[int] = []
    for name, position in (("memcpy_htod_async", 1), ("memcpy_dtoh_async", 0)):
        call = getattr(card.cuda, name)

        def counted(*arguments: Any, call: Any = call, position: int = position) -> None:
            copied.append(arguments[position].nbytes)
            call(*arguments)

        monkeypatch.setattr(card.cuda, name, counted)
    allocated = card.cuda.allocated
    backend.encode(audio)
    assert copied == [audio.nbytes, codes.nbytes]
    assert card.cuda.allocated == allocated


def test_sessions_are_set_for_the_card(card: Card) -> None:
    backend = card.backend()
    backend.prepare(encode=True, decode=True)
    (stream,) = {each.options["user_compute_stream"] for each in card.ort.sessions}
    assert int(stream) in card.cuda.streams
    for each in card.ort.sessions:
        assert each.options | {"user_compute_stream": ""} == {
            "device_id": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
            "user_compute_stream": "",
            "do_copy_in_default_stream": "0",
            "enable_cuda_graph": "1",
            "arena_extend_strategy": "kSameAsRequested",
            "gpu_mem_limit": str(1 << 30),
        }
    assert backend.reason == "asked for; batches of up to 4, CUDA graphs on, TF32 off"
    assert backend.batch_limit == 12


def test_graphs_that_cannot_be_recorded_run_without(
    card: Card,
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    caplog: pytest.LogCaptureFixture,
) -> None:
    card.ort.faults.graphs = True
    backend = card.backend()
    agree(backend, rows(2, 3199), reference)
    assert "CUDA graphs are off" in caplog.text
    assert "CUDA graphs off" in backend.reason
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1
    assert not any(each.recorded for each in card.ort.sessions)


def test_a_card_with_less_memory_than_was_thought_gets_smaller_batches(
    card: Card, rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    card.ort.faults.most_rows = 2
    backend = card.backend(batch=8)
    agree(backend, rows(5, 3199), reference)
    assert backend.batch_limit == 6
    card.ort.faults.most_rows = 0
    with pytest.raises(BackendError, match=r"could not run stft on audio .*Available memory"):
        backend.encode(rows(1, 3199))


def test_a_longer_clip_goes_graph_by_graph_on_the_same_card(
    card: Card, speech: NDArray[np.float32], reference: OnnxRuntimeBackend
) -> None:
    clip = speech[None, : FULL + 320]
    np.testing.assert_array_equal(card.backend().encode(clip), reference.encode(clip))
    assert card.ort.sessions == []  # in this test the other backend is on the CPU


def test_windows_of_several_files_share_batches(
    card: Card, speech: NDArray[np.float32], reference: OnnxRuntimeBackend
) -> None:
    bundle, clips = Bundle.embedded(), [speech[:40_000], speech[40_000:75_000], speech[100_000:140_000]]
    ours = Codec(bundle, card.backend(batch=8)).encode_batch(clips, window=0.2)
    for found, expected in zip(ours, Codec(bundle, reference).encode_batch(clips, window=0.2), strict=True):
        np.testing.assert_array_equal(found.codes, expected.codes)
    assert card.ort.runs < 3 * sum(len(clip) // 9600 for clip in clips)


@pytest.mark.slow
def test_float16_runs_its_own_networks_and_must_meet_the_proof(card: Card) -> None:
    backend = open_cuda(Bundle.embedded(), precision="float16")
    assert isinstance(backend, CudaBackend)
    assert backend.verdict is not None and backend.verdict.holds
    backend.close()

    def spoil(results: dict[str, Any]) -> None:
        if "codes" in results:
            results["codes"][:] = 0

    card.ort.faults.corrupt = spoil
    with pytest.raises(BackendError, match="float16 is not right with ONNX Runtime"):
        open_cuda(Bundle.embedded(), precision="float16")
    assert card.cuda.allocations == {}


def test_without_pycuda_it_runs_graph_by_graph_and_says_so(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(index: int) -> None:
        raise MissingDependencyError("pycuda is not installed")

    monkeypatch.setattr(module, "open_device", missing)
    backend = open_cuda(Bundle.embedded(), reason="asked for")
    assert isinstance(backend, OnnxRuntimeBackend)
    assert (
        backend.reason == "asked for; graph by graph, copies not pinned and nothing recorded: pycuda is not installed"
    )


def test_a_provider_that_does_not_load_is_an_error(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    card.ort.faults.provider = True
    monkeypatch.setattr(by_graph, "cuda_trouble", lambda: "libcublasLt.so.13: cannot open shared object file")
    with pytest.raises(
        BackendError, match=r"did not load, .* on CPUExecutionProvider: libcublasLt\.so\.13: cannot open"
    ):
        open_cuda(Bundle.embedded())


def test_a_driver_that_is_too_old_is_told_and_nothing_is_printed(
    card: Card, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "driver_version", lambda: "12.2")
    card.ort.faults.driver = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    with pytest.raises(
        BackendError, match=r"driver is for CUDA 12\.2, too old for ONNX Runtime; .* onnxruntime-gpu for"
    ):
        open_cuda(Bundle.embedded())
    assert capsys.readouterr().out == ""


def test_the_device_tells_its_time(monkeypatch: pytest.MonkeyPatch, rows: Callable[..., NDArray[np.float32]]) -> None:
    backend = Card(monkeypatch).backend()
    assert 0 < backend.device_seconds("encode", rows(1, 3199)) < 60


@pytest.mark.parametrize("streams", [1, 3, 6])
@pytest.mark.parametrize("sizes", [[1, 1, 2, 3, 8], [2, 2, 11]], ids=str)
def test_streams_go_on_from_states_that_stay_on_the_card(
    card: Card, remembering_bundle: Path, speech: NDArray[np.float32], streams: int, sizes: list[int]
) -> None:
    bundle = Bundle.open(remembering_bundle)
    backend, cpu = card.backend(bundle=bundle), OnnxRuntimeBackend(bundle, threads=1)
    audio = np.stack([speech[20_000 + 4000 * row :][: 15 * 320] for row in range(streams)])
    codes = cpu.encode(audio)
    for direction, unit, rows, expected in (("encode", 320, audio, codes), ("decode", 1, codes, cpu.decode(codes))):
        states: tuple[Carried, ...] = ()
        results, start = [], 0
        for size in sizes:
            card.cuda.crossings.clear()
            result, states = backend.push(direction, rows[..., start * unit : (start + size) * unit], states)
            assert len(card.cuda.crossings) == 2 * -(-streams // 4)
            results.append(result)
            start += size
        np.testing.assert_allclose(np.concatenate(results, axis=-1), expected, rtol=0, atol=1e-6)
        for array in backend.fetched(direction, states[0]):
            assert np.isfinite(array).all() and array.any()
    backend.close()
    assert (card.cuda.allocations, card.cuda.pinned) == ({}, [])


def test_streams_live_on_when_a_card_had_less_memory_than_was_thought(
    card: Card, streamable_bundle: Path, speech: NDArray[np.float32]
) -> None:
    bundle = Bundle.open(streamable_bundle)
    backend, cpu = card.backend(bundle=bundle, batch=8), OnnxRuntimeBackend(bundle, threads=1)
    audio = np.stack([speech[20_000 + 4000 * row :][: 4 * 320] for row in range(3)])
    first, states = backend.push("encode", audio[:, :320])
    card.ort.faults.most_rows = 1
    rest, _ = backend.push("encode", audio[:, 320:], states)
    assert backend.batch_limit == 6  # pushes of a card of two go one by one
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=2), cpu.encode(audio))
    backend.close()
