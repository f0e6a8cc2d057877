"""The machine's own limits: that a call does what its amount says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from apcodec_benchmarks.contenders import ceiling
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.ceiling import Ceiling
from apcodec_benchmarks.measurements import Case
from apcodec_deploy.errors import BenchmarkError, ContenderError

PRODUCT, COPY = Case(operation="product", seconds=0.0), Case(operation="copy", seconds=0.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Smaller than what is timed; threads as they were."""
    monkeypatch.setattr(ceiling, "SIDES", {"cpu": 96, "cuda": 96})
    monkeypatch.setattr(ceiling, "COPY_BYTES", 1 << 20)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


class Watched(TorchDispatchMode):
    """Keeps the tensors that each operation was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)]
        self.calls.append((func.overloadpacket.__name__, tensors))
        return func(*args, **kwargs)


@pytest.mark.parametrize(
    ("asked", "computed"), [("float32", torch.float32), ("float16", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_product_is_one_product_of_the_amount_and_precision_that_are_told(
    asked: str, computed: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceiling, "_least_seconds", lambda call: 0.0)  # as fast as each other: PyTorch's is taken
    subject = Ceiling(Settings(threads=1, precision=asked))
    call = subject.prepare(PRODUCT)
    with FlopCounterMode(display=False) as counter:
        call()
    assert subject.amount("product") == counter.get_total_flops()
    with Watched() as watched:
        call()
    [(name, (left, right, result))] = watched.calls
    assert name == "mm"
    assert {tensor.dtype for tensor in (left, right, result)} == {computed}
    assert subject.precision in subject.size("product")
    assert f"torch.{subject.precision}" == str(computed)
    tolerance = 1e-5 if computed == torch.float32 else 1e-2
    expected = left.double() @ right.double()
    assert (result.double() - expected).abs().max() <= tolerance * expected.abs().max()
    subject.close()


def test_onnx_runtimes_product_is_the_same_one() -> None:
    left, right = torch.randn(96, 96), torch.randn(96, 96)
    session, binding = ceiling._session(left, right, threads=1)
    session.run_with_iobinding(binding)
    result = torch.from_numpy(binding.get_outputs()[0].numpy())
    torch.testing.assert_close(result, left @ right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("faster", [0, 1])
def test_the_faster_library_is_the_ceiling(faster: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def seconds(call: object) -> float:
        tried.append(call)
        return 1.0 if len(tried) - 1 == faster else 2.0

    monkeypatch.setattr(ceiling, "_least_seconds", seconds)
    assert Ceiling(Settings(threads=1)).prepare(PRODUCT) is tried[faster]
    assert len(tried) == 2


def test_a_copy_reads_and_writes_the_amount_that_is_told() -> None:
    subject = Ceiling(Settings(threads=1))
    call = subject.prepare(COPY)
    with Watched() as watched:
        call()
    [(name, (target, source))] = watched.calls
    assert name == "copy_"
    assert target.untyped_storage().data_ptr() != source.untyped_storage().data_ptr()
    assert subject.amount("copy") == target.nbytes + source.nbytes
    assert subject.size("copy").startswith("1 MiB")
    source[12345] = 77
    assert not torch.equal(source, target)
    call()
    assert torch.equal(source, target)


def test_what_is_timed_is_far_larger_than_caches_and_overheads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    subject = Ceiling(Settings(threads=1))
    assert subject.amount("copy") == 512 << 20
    assert subject.amount("product") == 2 * 2048**3


def test_a_case_is_prepared_once_and_threads_are_those_of_the_settings() -> None:
    subject = Ceiling(Settings(threads=1))
    assert torch.get_num_threads() == 1
    assert subject.prepare(PRODUCT) is subject.prepare(PRODUCT)


def test_what_is_no_ceiling_is_an_error() -> None:
    subject = Ceiling(Settings(threads=1))
    for ask in (lambda: subject.prepare(Case(operation="encode", seconds=1.0)), lambda: subject.amount("encode")):
        with pytest.raises(BenchmarkError, match="'encode' is no ceiling; there are: product, copy"):
            ask()
    with pytest.raises(BenchmarkError, match="no product is timed in 'int8'; choose float32, float16, bfloat16"):
        Ceiling(Settings(threads=1, precision="int8"))
    if not torch.cuda.is_available():
        with pytest.raises(ContenderError, match="sees no CUDA device"):
            Ceiling(Settings(threads=1, device="cuda"))
