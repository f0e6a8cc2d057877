"""Rows of states on a simulated GPU: whatever is gathered, kept, dropped and restored, every stream keeps its own."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Memory
from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.engines.pool import StatePool, StateRow
from apcodec_deploy.errors import BackendError
from apcodec_deploy.spec import State, StateTensor

TENSORS = (StateTensor("tail", (5,)), StateTensor("history", (2, 3)))
WIDEST = 8


class Engine:
    """What a call does to states, done by hand: each array of each row of its inputs goes up by one."""

    def __init__(self, schedule: int | None = None) -> None:
        self.cuda = Cuda(schedule=schedule)
        self.device = PycudaDevice(self.cuda, Library(self.cuda), 0)
        with self.device.active():
            self.stream: Any = self.device.stream()
            names = [name for tensor in TENSORS for name in (tensor.name, tensor.after)]
            self.memory: dict[str, Memory] = {name: self.device.allocate(WIDEST * 6 * 4) for name in names}

    def run(self) -> None:
        for tensor in TENSORS:
            given, made = (self._floats(name) for name in (tensor.name, tensor.after))
            self.stream.synchronize()
            made[:] = given + 1

    def _floats(self, name: str) -> NDArray[np.float32]:
        data: NDArray[np.float32] = self.cuda.allocations[self.memory[name].address].data.view(np.float32)
        return data


def push(engine: Engine, pool: StatePool, rows: list[StateRow | None]) -> list[StateRow]:
    after = pool.take(len(rows))
    pool.gather(rows, engine.memory, engine.stream)
    engine.run()
    pool.keep(after, engine.memory, engine.stream)
    return after


def saved(engine: Engine, pool: StatePool, row: StateRow) -> list[float]:
    state = pool.fetch(row, engine.stream)
    assert [array.shape for array in state] == [tensor.shape for tensor in TENSORS]
    return sorted({float(value) for array in state for value in array.ravel()})


def of_value(value: float) -> State:
    return tuple(np.full(tensor.shape, value, np.float32) for tensor in TENSORS)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), schedule=st.integers(0, 2**32))
def test_every_stream_keeps_its_own(data: Any, schedule: int) -> None:
    engine = Engine(schedule)
    pool = StatePool(engine.device, "encode", TENSORS)
    held: dict[int, tuple[StateRow, float]] = {}
    with engine.device.active():
        for number in range(data.draw(st.integers(1, 12))):
            old = data.draw(st.lists(st.sampled_from(sorted(held)), max_size=4, unique=True)) if held else []
            new = data.draw(st.integers(0 if old else 1, WIDEST - 4))
            if data.draw(st.booleans()):
                held[1000 + number] = (pool.restore(of_value(100.0 * number), engine.stream), 100.0 * number)
            before = [held[each][0] for each in old] + [None] * new
            values = [held[each][1] for each in old] + [0.0] * new
            keys = [*old, *(10 * number + each for each in range(new))]
            for key, row, value in zip(keys, push(engine, pool, before), values, strict=True):
                held[key] = row, value + 1
            for key in data.draw(st.lists(st.sampled_from(sorted(held)), max_size=3, unique=True)):
                del held[key]
            before, row = [], None  # type: ignore[assignment]
            assert pool.streams == len(held)
        assert len({row.row for row, _ in held.values()}) == len(held)
        for row, value in held.values():
            assert saved(engine, pool, row) == [value]
        engine.stream.synchronize()
        pool.close()
        for memory in engine.memory.values():
            memory.free()
    assert not engine.cuda.allocations and not engine.cuda.pinned


def test_streams_that_stay_together_are_one_copy_for_each_array_however_they_were_mixed() -> None:
    engine = Engine()
    pool = StatePool(engine.device, "encode", TENSORS)
    with engine.device.active():
        rows: list[StateRow | None] = list(push(engine, pool, [None] * 6))
        rows = [rows[index] for index in (4, 1, 5, 0, 3, 2)]
        counts = []
        for _ in range(4):
            engine.cuda.moves.clear()
            rows = list(push(engine, pool, rows))
            counts.append(len(engine.cuda.moves))
    assert counts == [2 * (6 + 1), 2 * 2, 2 * 2, 2 * 2]


def test_it_grows_by_what_is_needed_and_uses_again_what_is_free() -> None:
    engine = Engine()
    pool = StatePool(engine.device, "encode", TENSORS)
    with engine.device.active():
        rows = pool.take(100)
        assert len(pool.memory) == 1
        rows += pool.take(1)
        assert len(pool.memory) == 2
        del rows[1::2]
        rows += pool.take(140)  # scattered, since nothing else is left
        assert len(pool.memory) == 2 and len({row.row for row in rows}) == len(rows) == 191
        rows.clear()
        assert pool.streams == 0 and [row.row for row in pool.take(200)] == list(range(200))


def test_handles_are_of_their_pool_alone() -> None:
    engine = Engine()
    encode, decode, other = (StatePool(engine.device, each, TENSORS) for each in ("encode", "decode", "encode"))
    with engine.device.active():
        (row,) = encode.take(1)
        assert encode.require(row) is row
        with pytest.raises(BackendError, match="state of encode was given to decode"):
            decode.require(row)
        with pytest.raises(BackendError, match="of another backend"):
            other.require(row)
        encode.close()
        for pool in (encode, decode, other):
            with pytest.raises(BackendError, match="was closed; start the stream anew"):
                pool.require(row)
    del row
    gc.collect()
    assert list(encode.dropped) == [0]
