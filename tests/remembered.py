"""A backend on the CPU that computes once what tests ask of it again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend


class Remembered(OnnxRuntimeBackend):
    """ONNX Runtime; what new streams give is kept."""

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        if states:
            return super().push(direction, rows, states)
        known: dict[Any, Any] = self.__dict__.setdefault("_known", {})
        key = (direction, rows.shape, rows.dtype.str, rows.tobytes())
        if key not in known:
            known[key] = super().push(direction, rows)
        result, after = known[key]
        return result.copy(), after
