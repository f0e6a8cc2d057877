"""What is pushed: to streams in step the same speech, each one push ahead of the next; to one of many that change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from benchmark_stand_ins import RATE, StandIn
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.workers.live import VISIT_PUSHES, VISITORS, pushes, visits
from apcodec_deploy.errors import BenchmarkError

UNIT = 160


class Recorder(StandIn):
    """Remembers what each of its sessions was pushed."""

    def __init__(self) -> None:
        super().__init__(Settings(threads=1))
        self.heard: list[list[NDArray[np.float32]]] = []

    def sessions(self, count: int) -> Any:
        mine: list[NDArray[np.float32]] = []
        self.heard.append(mine)

        def push(audio: NDArray[np.float32]) -> None:
            assert audio.shape == (count, UNIT) and audio.dtype == np.float32
            mine.append(audio.copy())

        return push


def case(operation: str, batch: int = 1) -> Case:
    return Case(operation=operation, seconds=UNIT / RATE, batch=batch)


def test_each_stream_hears_the_speech_in_order_one_push_ahead_of_the_next() -> None:
    recorder = Recorder()
    call = pushes(recorder, case("push", batch=3))
    for _ in range(1000):  # more than there is speech: it begins anew
        call()
    (heard,) = recorder.heard
    streams = np.stack(heard)
    np.testing.assert_array_equal(streams[1:390, 0], streams[:389, 1])
    np.testing.assert_array_equal(streams[1:390, 1], streams[:389, 2])
    assert len({block.tobytes() for block in streams[:, 0]}) > 150, "two seconds of speech"
    np.testing.assert_array_equal(streams[400, 0], streams[0, 0])


def test_fifty_streams_are_open_and_new_ones_take_their_places() -> None:
    recorder = Recorder()
    call = visits(recorder, case("visits"))
    assert len(recorder.heard) == VISITORS
    count = 100 * VISIT_PUSHES
    for _ in range(count):
        call()
    assert sum(map(len, recorder.heard)) == count
    assert 60 < len(recorder.heard) - VISITORS < 150
    lengths = Counter(len(heard) for heard in recorder.heard)
    assert len(lengths) > 10, "they stay for very unequal times"


def test_who_cannot_code_live_is_told_so() -> None:
    for make in (pushes, visits):
        with pytest.raises(BenchmarkError, match="cannot code what is still coming"):
            make(StandIn(Settings(threads=1)), case("push"))
