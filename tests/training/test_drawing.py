"""Which recording a segment is of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from apcodec_deploy.errors import TrainingError
from apcodec_training.config import TrainingConfig
from apcodec_training.drawing import Draw
from apcodec_training.material import Recording

RECORDINGS = [
    Recording(Path(name), name, 48_000, seconds * 48_000)
    for name, seconds in (("speech/a.wav", 25), ("speech/b.wav", 5), ("music/deep/c.wav", 300), ("d.wav", 10))
]


def test_an_epoch_draws_every_ten_seconds_once_without_shares() -> None:
    draw = Draw(RECORDINGS, {}, seed=1)
    assert draw.per_epoch == 3 + 1 + 30 + 1
    for epoch in range(2):
        numbers = range(epoch * draw.per_epoch, (epoch + 1) * draw.per_epoch)
        assert Counter(draw[number] for number in numbers) == {0: 3, 1: 1, 2: 30, 3: 1}


def test_folders_get_their_shares_and_files_count_by_length_in_them() -> None:
    draw = Draw(RECORDINGS, {"speech": 3, "music": 1.0, "nothing": 0}, seed=1)
    counts = Counter(draw[number] for number in range(8000))
    assert counts[3] == 0, "of a folder that is not named"
    # Six standard deviations of a share of 8000 draws are less than 0.035.
    shares = [counts[index] / 8000 for index in range(3)]
    assert shares == pytest.approx([0.75 * 3 / 4, 0.75 / 4, 0.25], abs=0.035)


def test_a_segments_recording_follows_from_its_number_and_the_seed() -> None:
    shares = {"speech": 1.0, "music": 1.0}
    first, again, other = (Draw(RECORDINGS, shares, seed=seed) for seed in (1, 1, 2))
    numbers = range(1000, 1100)
    forwards = [first[number] for number in numbers]
    assert [again[number] for number in reversed(numbers)] == forwards[::-1]
    assert [other[number] for number in numbers] != forwards


def test_a_share_of_an_empty_folder_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"names speach, which hold no audio .* there are , music, speech"):
        Draw(RECORDINGS, {"speach": 1.0, "music": 1.0}, seed=1)


def test_shares_come_from_a_config_file() -> None:
    config = TrainingConfig().changed({"data": {"shares": {"speech": 3, "music": 0.5}}}, "a file")
    assert config.data.shares == {"speech": 3.0, "music": 0.5}
    assert TrainingConfig().changed(config.to_dict(), "training.json") == config
    for wrong, message in (
        ({"speech": "much"}, "data: shares: speech is 'much'"),
        ([1.0], "a section of keys"),
        ({"speech": -1.0}, "numbers from 0 on"),
        ({"speech": 0.0}, "not all of them 0"),
    ):
        with pytest.raises(TrainingError, match=message):
            TrainingConfig().changed({"data": {"shares": wrong}}, "a file")
