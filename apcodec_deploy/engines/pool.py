"""What streams carry, on the GPU: a row of memory for each stream, gathered for a call and kept after it.

    rows of streams -> copies on the GPU -> inputs of a call | outputs of a call -> copies on the GPU -> new rows

Engines take the states of a batch side by side, and streams come in any company. So each call copies the rows that it
was given into its own inputs, and its outputs into rows that nobody has. What was given stays as it was until its
handle is dropped: a call that fails changes nothing. Rows that lie side by side are copied at once. The streams of a
call do after it, so those that stay together cost one copy for each array.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.cuda.device import Bytes, Device, HostMemory, Memory, Part, Stream
from apcodec_deploy.errors import BackendError
from apcodec_deploy.spec import State, StateTensor

_FIRST_ROWS = 16
_FLOAT_BYTES = 4


class StateRow:
    """The state of one stream: a handle that gives its row back when it is dropped, in whatever thread."""

    __slots__ = ("pool", "row")

    def __init__(self, pool: StatePool, row: int) -> None:
        self.pool, self.row = pool, row

    def __del__(self) -> None:
        self.pool.dropped.append(self.row)  # atomic; a lock could be held by this very thread


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows that were allocated together: of each array, one stream's behind the other's."""

    first: int
    rows: int
    memory: Memory


class StatePool:
    """The states of all streams of one direction. For one thread at a time, inside ``device.active()``.

    It grows as streams come, and keeps what it has until it is closed.
    """

    def __init__(self, device: Device, direction: str, tensors: Sequence[StateTensor]) -> None:
        """Hold nothing yet.

        Args:
            device: Where they are.
            direction: ``encode`` or ``decode``.
            tensors: What one stream carries.
        """
        self.direction = direction
        self.dropped: deque[int] = deque()
        self.closed = False
        self._device, self._tensors = device, tuple(tensors)
        self._sizes = [_FLOAT_BYTES * int(np.prod(tensor.shape)) for tensor in tensors]
        self._blocks: list[_Block] = []
        self._taken = np.zeros(0, bool)
        self._staging: HostMemory | None = None

    @property
    def streams(self) -> int:
        """How many states are held."""
        self._clear_away()
        return int(self._taken.sum())

    @property
    def memory(self) -> list[Memory | HostMemory]:
        """All that it has allocated."""
        return [*(block.memory for block in self._blocks), *([self._staging] if self._staging else [])]

    def take(self, count: int) -> list[StateRow]:
        """So many rows that nobody has, side by side where there are such.

        Raises:
            DeviceError: The GPU has no memory left.
        """
        self._clear_away()
        if self._taken.size - self._taken.sum() < count:
            self._grow(count)
        free = np.flatnonzero(~self._taken)
        starts = np.flatnonzero(free[count - 1 :] - free[: free.size - count + 1] == count - 1)
        rows = free[starts[0] :][:count] if starts.size else free[:count]
        self._taken[rows] = True
        return [StateRow(self, int(row)) for row in rows]

    def restore(self, state: State, stream: Stream) -> StateRow:
        """A row with a stream's state from plain arrays, which are of the right shapes."""
        (row,) = self.take(1)
        for index, (array, view) in enumerate(zip(state, self._views(), strict=True)):
            view[...] = array.reshape(-1)
            for part in self._parts(index, row.row, 1):
                self._device.upload(part, view, stream)
        stream.synchronize()
        return row

    def fetch(self, row: StateRow, stream: Stream) -> State:
        """A stream's state as plain arrays."""
        views = self._views()
        for index, view in enumerate(views):
            for part in self._parts(index, row.row, 1):
                self._device.download(view, part, stream)
        stream.synchronize()
        return tuple(view.reshape(tensor.shape).copy() for view, tensor in zip(views, self._tensors, strict=True))

    def require(self, row: StateRow) -> StateRow:
        """A row that is one of this pool.

        Raises:
            BackendError: It is another's, or what it was of is closed.
        """
        if row.pool is self and not self.closed:
            return row
        if row.pool.closed:
            raise BackendError(
                "the backend that held this stream's state was closed; start the stream anew, or from a state that "
                "was fetched before"
            )
        if row.pool.direction != self.direction:
            raise BackendError(f"a stream's state of {row.pool.direction} was given to {self.direction}")
        raise BackendError(
            "a stream's state of another backend; fetch it from the backend that gave it, and push the arrays here"
        )

    def gather(self, rows: Sequence[StateRow | None], inputs: Mapping[str, Bytes], stream: Stream) -> None:
        """Queue copies of rows into the inputs of a call; silence where there is none."""
        for place, first, count in _runs([row.row if row else None for row in rows]):
            for index, tensor in enumerate(self._tensors):
                size = self._sizes[index]
                target = Part(inputs[tensor.name], place * size, count * size)
                if first is None:
                    self._device.clear(target, stream)
                    continue
                for part in self._parts(index, first, count):
                    self._device.copy(target, part, stream)
                    target = Part(target, part.size, target.size - part.size)

    def keep(self, rows: Sequence[StateRow], outputs: Mapping[str, Bytes], stream: Stream) -> None:
        """Queue copies of the outputs of a call into rows."""
        for place, first, count in _runs([row.row for row in rows]):
            assert first is not None
            for index, tensor in enumerate(self._tensors):
                start = place * self._sizes[index]
                for part in self._parts(index, first, count):
                    self._device.copy(part, Part(outputs[tensor.after], start, part.size), stream)
                    start += part.size

    def close(self) -> None:
        """Give everything back, whatever fails meanwhile; nothing may be queued any more."""
        self.closed = True
        memory = self.memory
        self._blocks, self._staging = [], None
        with ExitStack() as stack:
            for held in memory:
                stack.callback(held.free)

    def _clear_away(self) -> None:
        """Take back the rows whose handles were dropped. All work is on one stream, so what reads them comes first."""
        while self.dropped:
            self._taken[self.dropped.popleft()] = False

    def _grow(self, count: int) -> None:
        held = self._taken.size
        rows = max(_FIRST_ROWS, count, held)
        self._blocks.append(_Block(held, rows, self._device.allocate(rows * sum(self._sizes))))
        self._taken = np.concatenate([self._taken, np.zeros(rows, bool)])

    def _parts(self, index: int, first: int, count: int) -> Iterator[Part]:
        """Where one array of rows that follow each other is, block by block."""
        size, before = self._sizes[index], sum(self._sizes[:index])
        for block in self._blocks:
            start, stop = max(first, block.first), min(first + count, block.first + block.rows)
            if start < stop:
                place = before * block.rows + (start - block.first) * size
                yield Part(block.memory, place, (stop - start) * size)

    def _views(self) -> list[NDArray[np.float32]]:
        """One stream's arrays, flat, in pinned memory."""
        if self._staging is None:
            self._staging = self._device.pin(sum(self._sizes))
        borders = np.cumsum([0, *self._sizes])
        return [self._staging.bytes[start:stop].view(np.float32) for start, stop in pairwise(borders)]


@dataclass(frozen=True, slots=True)
class Carriage:
    """The states of the rows of a call: where they come from, and where they go.

    Attributes:
        pool: Whose rows they are.
        before: One for each row; None for a new stream.
        after: One for each row, none of which is among those before.
    """

    pool: StatePool
    before: Sequence[StateRow | None]
    after: Sequence[StateRow]

    def load(self, start: int, count: int, rows: int, inputs: Mapping[str, Bytes], stream: Stream) -> None:
        """Queue what some rows carry into the inputs of a call that has ``rows``; those beyond them are silence."""
        self.pool.gather([*self.before[start : start + count], *[None] * (rows - count)], inputs, stream)

    def store(self, start: int, count: int, outputs: Mapping[str, Bytes], stream: Stream) -> None:
        """Queue what they carry after the call into their rows."""
        self.pool.keep(self.after[start : start + count], outputs, stream)


def _runs(rows: Sequence[int | None]) -> Iterator[tuple[int, int | None, int]]:
    """Neighbours of a call that are neighbours in the pool, too: their place, their first row, and how many they are.

    Rows of silence are one run.
    """
    place = 0
    while place < len(rows):
        first, stop = rows[place], place + 1
        while stop < len(rows) and rows[stop] == (None if first is None else first + stop - place):
            stop += 1
        yield place, first, stop - place
        place = stop
