"""States of streams as plain arrays: one tuple for each stream outside of a backend, stacked for a call inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.errors import BackendError
from apcodec_deploy.spec import ModelSpec, State


class ByPush(ABC):
    """A backend whose one way is ``push``: a piece by itself is a push to new streams."""

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = self.push("encode", audio)[0]
        return codes

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        audio: NDArray[np.float32] = self.push("decode", codes)[0]
        return audio

    @abstractmethod
    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        """See ``Backend``."""


def of_rows(states: Sequence[Carried], rows: int) -> Sequence[Carried]:
    """A state for each row; ``()`` for all of them where none is given.

    Raises:
        BackendError: There are others than one for each row.
    """
    if states and len(states) != rows:
        raise BackendError(f"{len(states)} states for {rows} rows; one for each row is expected, or none")
    return states or ((),) * rows


def checked(spec: ModelSpec, direction: str, state: Carried) -> State:
    """A state that is plain arrays of a model's and a direction's shapes; silence for a new stream.

    Raises:
        BackendError: It is something else.
    """
    if not isinstance(state, tuple):
        raise BackendError(
            "a stream's state of another backend; fetch it from the backend that gave it, and push the arrays here"
        )
    if not state:
        return tuple(array[0] for array in spec.start(direction, 1))
    expected = [(tensor.name, tensor.shape) for tensor in spec.states[direction]]
    found = [(str(each.dtype), each.shape) if isinstance(each, np.ndarray) else type(each).__name__ for each in state]
    if found != [("float32", shape) for _, shape in expected]:
        names = ", ".join(f"{name} {list(shape)}" for name, shape in expected) or "nothing"
        raise BackendError(
            f"a stream's state is {found}; to {direction}, this model carries {names} in float32. Is it the state of "
            "another model, or of the other direction?"
        )
    return state


def stacked(spec: ModelSpec, direction: str, states: Sequence[Carried], rows: int) -> tuple[NDArray[np.float32], ...]:
    """The states of the rows of a call, as graphs take them. One row's are not copied.

    Raises:
        BackendError: One is no state of this model and direction.
    """
    held = [checked(spec, direction, state) for state in of_rows(states, rows)]
    if rows == 1:
        return tuple(array[None] for array in held[0])
    return tuple(np.stack(arrays) for arrays in zip(*held, strict=True))


def unstacked(arrays: Sequence[NDArray[Any]], rows: int) -> tuple[State, ...]:
    """The state of each row. Those of several rows are copies: a stream that rests must not hold the others' memory."""
    if rows == 1:
        return (tuple(array[0] for array in arrays),)
    return tuple(tuple(array[row].copy() for array in arrays) for row in range(rows))
