"""CUDA graphs of the TensorRT backend: recorded for usual shapes, void when what they hold changes, never needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gpu_simulator.machine import Machine, agree
from numpy.typing import NDArray

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet

FULL = 20 * 320 - 1
MIXED = Profile(
    name="mixed",
    shapes=(Shapes(Range(2, 2, 2), Range(20, 20, 20)), Shapes(Range(1, 1, 1), Range(1, 3, 20))),
    cuda_graphs=True,
)
PAIRS = Profile(name="pairs", shapes=(Shapes(Range(1, 2, 2), Range(20, 20, 20)),), cuda_graphs=True)
GRAPHS = Profile(name="graphs", shapes=(Shapes(Range(1, 1, 1), Range(1, 20, 20)),), cuda_graphs=True)


def test_usual_shapes_are_recorded_and_replayed(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(GRAPHS), schedule=3)
    for _ in range(3):
        agree(machine, rows(5), reference)
    assert machine.cuda.launched > 10
    agree(machine, rows(2, 1000), reference)  # another shape goes without
    agree(machine, rows(5), reference)
    machine.backend.close()
    assert machine.cuda.graphs == {}


def test_a_switch_of_profiles_voids_the_recordings(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(MIXED))
    for count, samples in ((2, FULL), (2, FULL), (1, 1000), (2, FULL), (2, FULL)):
        agree(machine, rows(count, samples), reference)
    assert machine.cuda.launched > 0


@pytest.mark.slow
def test_a_recording_of_one_batch_is_not_replayed_for_another(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(PAIRS))
    clips = rows(9)  # other clips each time, or what an earlier call left behind would do
    for start, count in ((0, 2), (2, 2), (4, 1), (5, 2), (7, 1), (8, 1), (0, 2), (2, 2)):
        agree(machine, clips[start : start + count], reference)
    assert machine.cuda.launched > 0


@pytest.mark.slow
@pytest.mark.parametrize("refuse", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_where_recording_fails_calls_go_on_one_by_one(
    sets: Callable[..., StoredSet],
    rows: Callable[..., NDArray[np.float32]],
    reference: OnnxRuntimeBackend,
    refuse: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine(sets(GRAPHS), refuse=refuse)
    for _ in range(3):
        agree(machine, rows(3), reference)
    assert machine.cuda.launched == 0
    assert machine.cuda.graphs == {}
    assert "CUDA graphs are off" in caplog.text


def test_the_flavour_that_records_by_itself_is_not_recorded(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]], reference: OnnxRuntimeBackend
) -> None:
    machine = Machine(sets(GRAPHS, flavour="rtx"), rtx=True)
    for _ in range(3):
        agree(machine, rows(3), reference)
    assert machine.cuda.launched == 0


def test_profiles_without_graphs_record_none(
    sets: Callable[..., StoredSet], rows: Callable[..., NDArray[np.float32]]
) -> None:
    machine = Machine(sets())
    for _ in range(4):
        machine.backend.encode(rows(3))
    assert machine.cuda.launched == 0
