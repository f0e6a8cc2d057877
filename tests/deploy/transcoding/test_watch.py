"""Where the time of a conversion goes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from apcodec_deploy.transcoding.watch import Stage, Watch


def test_every_second_counts_for_one_stage() -> None:
    watch = Watch()
    begun = time.perf_counter()

    def slowly() -> Iterator[int]:
        for index in range(3):
            time.sleep(0.02)
            yield index

    taken = []
    for block in watch.each(Stage.READING, slowly()):
        with watch.during(Stage.WRITING):
            time.sleep(0.03)
            taken.append(block)
    with watch.during(Stage.WRITING):
        pass
    assert taken == [0, 1, 2]
    assert watch.seconds[Stage.READING] >= 0.06 and watch.seconds[Stage.WRITING] >= 0.09
    assert sum(watch.seconds.values()) <= time.perf_counter() - begun


def test_an_error_ends_its_stage() -> None:
    watch = Watch()

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(watch.each(Stage.READING, broken()))
    assert not watch.stalled(Stage.READING, -1)
    assert watch.stalled(Stage.CODING, -1)


def test_a_long_stage_of_many_steps_has_not_stalled() -> None:
    heard: list[float] = []
    watch = Watch(heard.append)
    with watch.during(Stage.READING):
        for _ in range(4):
            time.sleep(0.02)
            watch.alive()
        assert not watch.stalled(Stage.READING, 0.06)
    assert heard == [0.0] * 4 and watch.seconds[Stage.READING] >= 0.08


def test_a_stage_that_lasts_has_stalled() -> None:
    watch = Watch()
    with watch.during(Stage.READING):
        time.sleep(0.03)
        assert watch.stalled(Stage.READING, 0.02) and not watch.stalled(Stage.READING, 60)
        assert not watch.stalled(Stage.WRITING, 0)
