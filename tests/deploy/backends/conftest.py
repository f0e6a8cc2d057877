"""Engines of the embedded model for the simulated GPU, audio to run, and what ONNX Runtime makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gpu_simulator.building import simulated_set
from numpy.typing import NDArray
from remembered import Remembered

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet

SMALL = Profile(
    name="small",
    shapes=(
        Shapes(Range(1, 3, 3), Range(20, 20, 20)),
        Shapes(Range(1, 1, 2), Range(1, 20, 40)),
    ),
)
FULL = 20 * 320 - 1
"""Samples of twenty latents."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StoredSet]:
    """Engines by profile and other options, each built once."""
    made: dict[Any, StoredSet] = {}

    def get(profile: Profile = SMALL, **options: Any) -> StoredSet:
        key = (profile, *sorted(options.items()))
        if key not in made:
            made[key] = simulated_set(Bundle.embedded(), tmp_path_factory.mktemp("engines"), profile, **options)
        return made[key]

    return get


@pytest.fixture(scope="module")
def reference() -> OnnxRuntimeBackend:
    """ONNX Runtime on the CPU."""
    return Remembered(Bundle.embedded(), threads=1)


@pytest.fixture(scope="module")
def rows(speech: NDArray[np.float32]) -> Callable[..., NDArray[np.float32]]:
    """So many clips of so many samples of speech."""

    def cut(count: int, samples: int = FULL) -> NDArray[np.float32]:
        return np.stack([speech[30_000 + 3000 * row :][:samples] for row in range(count)])

    return cut
