"""The simulated GPU is worth something only if it fails where a real one would: every misuse has a test here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.streams import POISON, LogicError, MemoryError_, Misuse
from gpu_simulator.tensorrt import Context, TensorRTModule, engine_bytes
from onnx import TensorProto, helper

SHAPES = [
    {"x": [[1, 2], [1, 4], [2, 8]]},
    {"x": [[1, 16], [1, 16], [1, 16]]},
]


def doubling() -> bytes:
    """A graph that doubles a float32 of any shape."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "n"]) for name in "xy"]
    graph = helper.make_graph([node], "doubling", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = model.SerializeToString()
    onnx.checker.check_model(model)
    return data


class Bench:
    """A machine, a context on it, and the right way to use it, step by step."""

    def __init__(self) -> None:
        self.cuda = Cuda()
        self.module = TensorRTModule(self.cuda)

    def start(self) -> None:
        self.engine = self.module.Runtime(_Silent()).deserialize_cuda_engine(engine_bytes(doubling(), SHAPES))
        assert self.engine is not None
        self.stream = self.cuda.Stream(1)
        self.context = self.make_context()
        self.memory = {name: self.cuda.mem_alloc(64) for name in "xy"}
        self.scratch = self.cuda.mem_alloc(4096)
        self.host = self.cuda.pagelocked_empty(32, np.uint8).view(np.float32).reshape(1, 8)

    def make_context(self) -> Context:
        assert self.engine is not None
        context = self.engine.create_execution_context(None)
        assert context is not None
        return context

    def ready(self, *, without: str = "") -> None:
        """All that a call needs, but one thing."""
        if without != "profile":
            assert self.context.set_optimization_profile_async(0, self.stream.handle)
        if without not in ("profile", "shape"):
            assert self.context.set_input_shape("x", (1, 8))
        for name in "xy":
            if name != without:
                assert self.context.set_tensor_address(name, int(self.memory[name]))
        if without != "scratch":
            self.context.set_device_memory(int(self.scratch), 4096)


class _Silent:
    def log(self, severity: Any, message: str) -> None:
        """Nothing is wrong with being told."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    with made.cuda.current():
        made.start()
        yield made


def test_the_right_way_gives_the_right_answer(bench: Bench) -> None:
    bench.ready()
    bench.host[:] = np.arange(8)
    bench.cuda.memcpy_htod_async(int(bench.memory["x"]), bench.host, bench.stream)
    assert bench.context.execute_async_v3(bench.stream.handle)
    bench.cuda.memcpy_dtoh_async(bench.host, int(bench.memory["y"]), bench.stream)
    bench.stream.synchronize()
    assert bench.host.tolist() == [[0, 2, 4, 6, 8, 10, 12, 14]]


@pytest.mark.parametrize("without", ["x", "y"])
def test_a_missing_address(bench: Bench, without: str) -> None:
    bench.ready(without=without)
    with pytest.raises(Misuse, match=f"no address for \\['{without}'\\]"):
        bench.context.execute_async_v3(bench.stream.handle)


def test_missing_working_memory(bench: Bench) -> None:
    bench.ready(without="scratch")
    with pytest.raises(Misuse, match="no working memory"):
        bench.context.execute_async_v3(bench.stream.handle)


def test_missing_shapes(bench: Bench) -> None:
    bench.ready(without="shape")
    with pytest.raises(Misuse, match="no shape for"):
        bench.context.execute_async_v3(bench.stream.handle)


def test_shapes_before_a_profile(bench: Bench) -> None:
    with pytest.raises(Misuse, match="before an optimisation profile"):
        bench.context.set_input_shape("x", (1, 8))


def test_shapes_outside_the_profile(bench: Bench) -> None:
    bench.ready()
    for shape in ((1, 9), (3, 8), (1, 1), (8,)):
        assert not bench.context.set_input_shape("x", shape)
    assert bench.context.set_optimization_profile_async(1, bench.stream.handle)
    assert not bench.context.set_input_shape("x", (1, 8))
    assert not bench.context.set_optimization_profile_async(2, bench.stream.handle)


def test_a_buffer_that_is_too_short(bench: Bench) -> None:
    bench.ready()
    assert bench.context.set_tensor_address("y", int(bench.cuda.mem_alloc(31)))
    with pytest.raises(Misuse, match="31 bytes is too short for 32"):
        bench.context.execute_async_v3(bench.stream.handle)
    with pytest.raises(Misuse, match="too short"):
        bench.cuda.memcpy_htod_async(int(bench.cuda.mem_alloc(8)), bench.host, bench.stream)


def test_working_memory_that_is_too_short(bench: Bench) -> None:
    with pytest.raises(Misuse, match="100 bytes of working memory, 4096 are needed"):
        bench.context.set_device_memory(int(bench.scratch), 100)


def test_an_output_that_is_read_too_early(bench: Bench) -> None:
    bench.ready()
    bench.host[:] = 1
    bench.cuda.memcpy_htod_async(int(bench.memory["x"]), bench.host, bench.stream)
    bench.context.execute_async_v3(bench.stream.handle)
    result = bench.cuda.pagelocked_empty(32, np.uint8)
    bench.cuda.memcpy_dtoh_async(result, int(bench.memory["y"]), bench.stream)
    assert (result == POISON).all()
    assert np.isnan(result.view(np.float32)).all()
    bench.stream.synchronize()
    assert (result.view(np.float32) == 2).all()


def test_an_input_that_is_overwritten_too_early(bench: Bench) -> None:
    bench.host[:] = 1
    bench.cuda.memcpy_htod_async(int(bench.memory["x"]), bench.host, bench.stream)
    bench.host[:] = 7
    bench.stream.synchronize()
    assert (bench.memory["x"].data[:32].view(np.float32) == 7).all()


def test_streams_do_not_wait_for_each_other_unless_told(bench: Bench) -> None:
    other, event = bench.cuda.Stream(1), bench.cuda.Event(2)
    bench.host[:] = 1
    bench.cuda.memcpy_htod_async(int(bench.memory["x"]), bench.host, bench.stream)
    event.record(bench.stream)
    result = bench.cuda.pagelocked_empty(32, np.uint8).view(np.float32)
    bench.cuda.memcpy_dtoh_async(result, int(bench.memory["x"]), other)
    other.synchronize()
    assert np.isnan(result).all()
    other.wait_for_event(event)
    bench.cuda.memcpy_dtoh_async(result, int(bench.memory["x"]), other)
    other.synchronize()
    assert (result == 1).all()


def test_memory_that_is_freed_while_it_is_needed(bench: Bench) -> None:
    bench.ready()
    bench.context.execute_async_v3(bench.stream.handle)
    for memory in (*bench.memory.values(), bench.scratch):
        with pytest.raises(Misuse, match="freed while queued work needs it"):
            memory.free()
    bench.stream.synchronize()
    bench.memory["y"].free()
    with pytest.raises(Misuse, match="no memory of the device, or was freed"):
        bench.context.execute_async_v3(bench.stream.handle)


def test_a_second_context_on_working_memory_in_use(bench: Bench) -> None:
    bench.ready()
    bench.context.execute_async_v3(bench.stream.handle)
    first, bench.context = bench.stream, bench.make_context()
    bench.stream = bench.cuda.Stream(1)
    bench.ready()
    with pytest.raises(Misuse, match="two streams use one working memory"):
        bench.context.execute_async_v3(bench.stream.handle)
    assert bench.context.execute_async_v3(first.handle)  # in turn is right


def test_the_default_stream_and_streams_that_wait_for_it(bench: Bench) -> None:
    bench.ready()
    with pytest.raises(Misuse, match="0 is no stream, or the default one"):
        bench.context.execute_async_v3(0)
    with pytest.raises(Misuse, match="waits for the default one"):
        bench.cuda.Stream()


def test_copies_of_memory_that_is_not_pinned_or_not_contiguous(bench: Bench) -> None:
    with pytest.raises(Misuse, match="not pinned"):
        bench.cuda.memcpy_htod_async(int(bench.memory["x"]), np.zeros(8, np.float32), bench.stream)
    with pytest.raises(Misuse, match="not contiguous"):
        bench.cuda.memcpy_htod_async(int(bench.memory["x"]), bench.host[:, ::2], bench.stream)


def test_calls_without_a_context(bench: Bench) -> None:
    event = bench.cuda.Event().record(bench.stream).synchronize()
    calls: list[Callable[[], object]] = [
        lambda: bench.cuda.mem_alloc(8),
        lambda: bench.cuda.Stream(1),
        lambda: bench.stream.synchronize(),
        lambda: event.time_since(event),
        lambda: bench.memory["x"].free(),
        lambda: bench.cuda.pagelocked_empty(8, np.uint8),
    ]
    failed = []

    def elsewhere() -> None:
        for call in calls:
            try:
                call()
            except LogicError:
                failed.append(call)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failed == calls


def test_two_threads_on_one_context(bench: Bench) -> None:
    bench.ready()
    assert bench.context.busy.acquire()
    with pytest.raises(Misuse, match="two threads use one context"):
        bench.context.execute_async_v3(bench.stream.handle)


def test_more_memory_than_there_is(bench: Bench) -> None:
    with pytest.raises(MemoryError_):
        bench.cuda.mem_alloc(1 << 33)


def test_an_event_that_nothing_reaches(bench: Bench) -> None:
    other, event = bench.cuda.Stream(1), bench.cuda.Event(2)
    event.record(other)
    other.queue.clear()
    bench.stream.wait_for_event(event)
    with pytest.raises(Misuse, match="nothing will ever reach"):
        bench.stream.synchronize()


def test_what_is_no_engine_is_not_loaded(bench: Bench) -> None:
    assert bench.module.Runtime(_Silent()).deserialize_cuda_engine(b"other bytes") is None
