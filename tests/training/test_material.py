"""Which files are trained on: any readable one, and every other one with its reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import soundfile

from apcodec_deploy.errors import TrainingError
from apcodec_training.material import Material, Recording, write_skipped


def test_files_are_found_at_any_depth_and_some_kept_for_validation(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    found = Material.find(
        folder, validation=None, clips=2, seed=1, progress=lambda what, done, total: told.append((done, total))
    )
    assert told[-1] == (8, 8)
    assert len(found.training) == 6 and len(found.validation) == 2 and not found.skipped
    assert {each.path for each in found.training + found.validation} == {
        *folder.rglob("*.wav"),
        *folder.rglob("*.flac"),
    }
    for each in found.training:
        info = soundfile.info(str(each.path))
        assert (each.sample_rate, each.samples) == (info.samplerate, info.frames)
    again = Material.find(folder, validation=None, clips=2, seed=1)
    assert again == found
    others = {Material.find(folder, validation=None, clips=2, seed=seed).validation for seed in range(6)}
    assert len(others) > 1


def test_a_small_folder_keeps_most_for_training(folder: Path, tmp_path: Path) -> None:
    assert len(Material.find(folder, validation=None, clips=100, seed=1).validation) == 2
    shutil.copy(folder / "clip 0.flac", tmp_path)
    alone = Material.find(tmp_path, validation=None, clips=8, seed=1)
    assert len(alone.training) == 1 and not alone.validation


def test_validation_can_have_a_folder_of_its_own(folder: Path, examples: Path) -> None:
    found = Material.find(folder, validation=examples, clips=2, seed=1)
    assert len(found.training) == 8
    assert [each.path.parent for each in found.validation] == [examples, examples]


def test_nothing_of_the_validation_folder_is_trained_on(folder: Path) -> None:
    found = Material.find(folder, validation=folder / "deeper", clips=8, seed=1)
    assert {each.path.parent for each in found.training} == {folder}
    assert {each.name for each in found.validation} == {f"clip {index}.wav" for index in (1, 3, 5, 7)}
    with pytest.raises(TrainingError, match="nothing is left to train on"):
        Material.find(folder, validation=folder, clips=8, seed=1)


def test_a_digest_tells_other_material(folder: Path, tmp_path: Path) -> None:
    first = Material.find(folder, validation=None, clips=2, seed=1)
    shutil.copytree(folder, tmp_path / "moved")
    assert Material.find(tmp_path / "moved", validation=None, clips=2, seed=1).digest == first.digest
    assert Material.find(folder, validation=None, clips=1, seed=1).digest != first.digest
    (tmp_path / "moved" / "clip 0.flac").unlink()
    assert Material.find(tmp_path / "moved", validation=None, clips=2, seed=1).digest != first.digest


def test_odd_names_are_read_like_others(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n.flac")
    shutil.copy(folder / "clip 0.flac", tmp_path / name)
    (found,) = Material.find(tmp_path, validation=None, clips=0, seed=0).training
    assert found.path.name == name and found.name.isascii()


def test_bad_files_are_skipped_with_their_reason(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "clip 0.flac", tmp_path / "good.flac")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.flac").write_text("no audio")
    whole = (folder / "deeper" / "clip 1.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "none.wav", [], 48_000)
    (tmp_path / "notes.txt").write_text("left alone")
    (tmp_path / ".hidden.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    found = Material.find(tmp_path, validation=None, clips=0, seed=0)
    assert [each.path.name for each in found.training] == ["good.flac"]
    assert {path.name for path, _ in found.skipped} == {"empty.wav", "text.flac", "cut.wav", "none.wav", ".hidden.wav"}
    write_skipped({str(path): reason for path, reason in found.skipped}, tmp_path / "skipped.txt")
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert len(lines) == 5 and "\t" in lines[0]
    write_skipped({}, tmp_path / "skipped.txt")
    assert not (tmp_path / "skipped.txt").exists()


def test_a_folder_with_nothing_to_train_on_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a directory"):
        Material.find(tmp_path / "absent", validation=None, clips=0, seed=0)
    (tmp_path / "bad.wav").touch()
    with pytest.raises(TrainingError, match=r"holds no audio that can be trained on(.|\n)*bad\.wav"):
        Material.find(tmp_path, validation=None, clips=0, seed=0)


def test_long_files_are_drawn_more_often() -> None:
    draws = [Recording(Path("x"), "x", 100, samples).draws for samples in (1, 1000, 1001, 360_000)]
    assert draws == [1, 1, 2, 360]
