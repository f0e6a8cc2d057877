"""ONNX Runtime on the CPU: loads what is needed when it is, and says what failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend, Placement, cuda
from apcodec_deploy.backends.onnxruntime_cuda import open_cuda
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError, BundleError
from apcodec_deploy.families import DECODE, ENCODE, GRAPHS
from apcodec_deploy.machine import available_cpus


class CountingBundle:
    """The embedded bundle, with a record of the graphs that were read."""

    def __init__(self) -> None:
        self.path = Bundle.embedded().path
        self.spec = Bundle.embedded().spec
        self.read: list[str] = []

    def graph(self, name: str, precision: str) -> bytes:
        self.read.append(name)
        return Bundle.embedded().graph(name, precision)


def test_each_direction_loads_its_own_graphs_once(speech: NDArray[np.float32]) -> None:
    bundle = CountingBundle()
    backend = OnnxRuntimeBackend(bundle)  # type: ignore[arg-type]
    assert bundle.read == []
    codes = backend.encode(speech[None, :1000])
    backend.encode(speech[None, :2000])
    assert bundle.read == list(ENCODE)
    backend.decode(codes)
    assert bundle.read == list(ENCODE + DECODE) == list(GRAPHS)


def test_shapes_and_types_are_those_of_the_protocol(speech: NDArray[np.float32]) -> None:
    backend = create(Bundle.embedded())
    codes = backend.encode(np.stack([speech[:5000], speech[5000:10_000]]))
    assert (codes.shape, codes.dtype) == ((2, 4, 16), np.int32)
    audio = backend.decode(codes)
    assert (audio.shape, audio.dtype) == ((2, 16 * 320), np.float32)


def test_threads_that_call_at_once_get_their_own_results(speech: NDArray[np.float32]) -> None:
    backend = create(Bundle.embedded())
    clips = [speech[None, start : start + 4000] for start in range(20_000, 60_000, 4000)]
    alone = [backend.encode(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.encode, clips))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_graph_that_fails_is_named_with_the_shapes_it_got() -> None:
    backend = create(Bundle.embedded())
    with pytest.raises(BackendError, match=r"could not run dequantizer on \[1, 3, 5\]"):
        backend.decode(np.zeros((1, 3, 5), np.int32))


def test_preparing_loads_ahead() -> None:
    bundle = CountingBundle()
    backend = OnnxRuntimeBackend(bundle, threads=1)  # type: ignore[arg-type]
    backend.prepare(encode=False, decode=True)
    assert bundle.read == list(DECODE)


def test_only_the_cpus_of_this_process_count() -> None:
    assert 1 <= available_cpus() <= 4096


@pytest.mark.parametrize("threads", [0, -5, "2", 1.0, True, 1025, 100_000])
def test_a_number_of_threads_that_is_none_is_refused(threads: int) -> None:
    with pytest.raises(BackendError, match="threads"):
        create(Bundle.embedded(), BackendOptions(threads=threads))


def test_a_graph_that_is_not_what_the_manifest_says_is_refused() -> None:
    bundle = Bundle.embedded()
    eight = replace(bundle, spec=replace(bundle.spec, num_codebooks=8))
    with pytest.raises(BundleError, match=r"quantizer of .* has .*4.*model\.json says .*8"):
        create(eight).prepare(encode=True, decode=False)


def test_onnx_runtime_without_cuda_says_how_to_get_it() -> None:
    with pytest.raises(BackendError, match=r"has .*CPUExecutionProvider only; to get CUDA: pip uninstall onnxruntime"):
        open_cuda(Bundle.embedded())


def test_cuda_is_set_for_steady_codes_and_lengths_that_change() -> None:
    assert cuda(2) == Placement(
        provider="CUDAExecutionProvider",
        options={"device_id": "2", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
        device="cuda",
        index=2,
        batch_limit=16,
    )


def test_half_precision_runs_its_own_networks(speech: NDArray[np.float32]) -> None:
    """On the CPU only to see that the right graphs are taken; users get it on GPUs."""
    half, full = (OnnxRuntimeBackend(Bundle.embedded(), precision=name) for name in ("float16", "float32"))
    clip = speech[None, 30_000:50_000]
    codes = full.encode(clip)
    assert (half.encode(clip) == codes).mean() > 0.9
    expected, found = full.decode(codes), half.decode(codes)
    assert 0 < np.square(found - expected).sum() < 1e-3 * np.square(expected).sum()
    with pytest.raises(BundleError, match="has no bfloat16 graphs"):
        OnnxRuntimeBackend(Bundle.embedded(), precision="bfloat16").prepare(encode=True, decode=False)
