"""Tables that a resumed run goes on with, means, and what TensorBoard is given."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from apcodec_deploy.errors import OutputError
from apcodec_training.journal import Board, Table
from apcodec_training.means import Means


def test_a_table_goes_on_after_the_step_it_is_resumed_at(tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"
    table = Table(file, ["a", "b"], after=0)
    for step in (10, 20, 30):
        table.add(step, {"a": step / 3, "b": 1})
    whole = file.read_text()
    assert whole.splitlines()[:2] == ["step,a,b", "10,3.33333333,1"]
    again = Table(file, ["a", "b"], after=20)
    assert file.read_text().splitlines() == whole.splitlines()[:3]
    again.add(30, {"a": 10, "b": 1})
    assert file.read_text() == whole
    Table(file, ["a"], after=0)
    assert file.read_text() == "step,a\n"


def test_a_line_that_a_kill_has_cut_is_dropped_with_what_came_after(tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"
    file.write_text("step,a,b\n10,1,2\n20,3,4\n3")
    Table(file, ["a", "b"], after=20)
    assert file.read_text() == "step,a,b\n10,1,2\n20,3,4\n"
    file.write_text("step,a,b\n10,1,2\n" + "\0" * 12 + "\n")  # what a loss of power can leave
    Table(file, ["a", "b"], after=20)
    assert file.read_text() == "step,a,b\n10,1,2\n"


def test_what_is_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    other = tmp_path / "losses.csv"
    other.write_text("time,mel\n1,2\n")
    with pytest.raises(OutputError, match="is no table of a run"):
        Table(other, ["mel"], after=3)
    assert other.read_text() == "time,mel\n1,2\n"
    with pytest.raises(OutputError, match="cannot be written"):
        Table(tmp_path, ["mel"], after=3)
    with pytest.raises(OutputError, match="cannot be written"):
        Board(other, 48_000, after=0)


def test_absent_values_leave_their_column_empty(tmp_path: Path) -> None:
    Table(tmp_path / "t.csv", ["a", "b"], after=0).add(1, {"b": 0.5})
    assert (tmp_path / "t.csv").read_text() == "step,a,b\n1,,0.5\n"


def test_means_are_of_the_steps_that_had_a_value() -> None:
    means = Means()
    means.add({"a": 1, "b": 4})
    means.add({"a": 2})
    other = Means()
    other.restore(means.state())
    assert other.take() == means.take() == {"a": 1.5, "b": 4}
    assert means.take() == {}


def test_a_resumed_board_keeps_the_step_it_is_resumed_at(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for after, steps in ((0, (5, 10, 15)), (10, (15,))):
        board = Board(tmp_path, 48_000, after=after)
        for step in steps:
            board.numbers("training", {"a": step + after}, step)
        board.close()
        second = int(time.time())
        while int(time.time()) == second:  # files are read in the order of the seconds in their names
            time.sleep(0.02)
    held = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in held.Scalars("training/a")] == [(5, 5), (10, 10), (15, 25)]


def test_the_board_holds_curves_pictures_and_sound(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path, 48_000, after=0)
    board.numbers("training", {"mel_l1": 0.25}, 3)
    time = np.arange(48_000, dtype=np.float32) / 48_000
    tone = np.sin(2 * np.pi * 12_000 * time).astype(np.float32)
    board.clip("a.wav", tone, tone / 2, 3)
    board.close()
    held = EventAccumulator(str(tmp_path), size_guidance={"audio": 0, "images": 0}).Reload()
    assert held.Scalars("training/mel_l1")[0].value == 0.25
    assert set(held.Tags()["audio"]) == {"a.wav/decoded", "a.wav/original"}
    (picture,) = held.Images("a.wav/original above decoded")
    assert (picture.height, picture.step) == (2 * 513, 3)
