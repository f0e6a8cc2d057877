"""What a folder run plans before it converts anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.transcoding.folder import Task, guarded, plan_folder


def tree(root: Path, *names: str) -> Path:
    """Make files; a plan needs only their names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_the_tree_is_mirrored_and_other_files_are_left_alone(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.flac", "deep/er/b.mp3", "deep/notes.txt", "c.wav.apc", "deep/.apcodec-1.part")
    tasks = plan_folder(source, tmp_path / "out", "wav")
    assert [str(task.target.relative_to(tmp_path / "out")) for task in tasks] == [
        "a.flac.wav",
        "c.wav",
        "deep/er/b.mp3.wav",
    ]
    assert not any(task.problem for task in tasks)


def test_inputs_that_meet_are_both_named_and_neither_is_converted(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav", "a.wav.apc", "b.wav")
    tasks = plan_folder(source, tmp_path / "out", "wav")
    clash = {task.source.name: task.problem for task in tasks}
    assert "a.wav.apc" in str(clash["a.wav"])
    assert "a.wav and" not in str(clash["b.wav"])
    assert str(source / "a.wav") in str(clash["a.wav.apc"])
    assert clash["b.wav"] is None


def test_an_output_folder_inside_the_input_folder_is_not_read(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav", "out/a.wav", "sub/out/b.wav")
    tasks = plan_folder(source, source / "out", "wav")
    assert [str(task.source.relative_to(source)) for task in tasks] == ["a.wav", "sub/out/b.wav"]


def test_an_output_that_is_an_input_is_never_written(tmp_path: Path) -> None:
    source = tree(tmp_path / "all" / "in", "in/a.wav", "a.wav")
    tasks = plan_folder(source, tmp_path / "all", "wav")
    problems = {str(task.source.relative_to(source)): task.problem for task in tasks}
    assert problems["in/a.wav"] is not None and "itself an input" in problems["in/a.wav"]
    assert problems["a.wav"] is None


def test_the_same_folder_twice_is_refused(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav")
    (tmp_path / "link").symlink_to(source)
    for output in (source, source / ".." / "in", tmp_path / "link"):
        with pytest.raises(OutputError, match="both input and output"):
            plan_folder(source, output, "wav")


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav")
    (source / "loop").symlink_to(source)
    assert len(plan_folder(source, tmp_path / "out", "wav")) == 1


def test_one_file_is_a_folder_of_one(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.flac", "b.flac")
    (task,) = plan_folder(source / "a.flac", tmp_path / "out", "apc")
    assert task.target == tmp_path / "out" / "a.flac.apc"


def test_odd_names_are_kept(tmp_path: Path) -> None:
    names = ["-dash.wav", "two words.wav", "ünïcødé.wav", "new\nline.wav", os.fsdecode(b"bytes\xff.wav")]
    source = tree(tmp_path / "in", *names)
    tasks = plan_folder(source, tmp_path / "out", "wav")
    assert sorted(task.target.name for task in tasks) == sorted(names)


def test_nothing_to_do_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist"):
        plan_folder(tmp_path / "none", tmp_path / "out", "wav")
    with pytest.raises(AudioError, match="no audio"):
        plan_folder(tree(tmp_path / "in", "a.txt"), tmp_path / "out", "wav")
    with pytest.raises(OutputError, match="is a file"):
        plan_folder(tree(tmp_path / "in", "a.wav"), tmp_path / "in" / "a.wav", "wav")


def test_an_input_is_known_by_any_name(tmp_path: Path) -> None:
    """By dots, through a linked folder, or as the file that a link among the inputs points to."""
    source = tree(tmp_path / "in", "x.wav", "sub/y.wav")
    (tmp_path / "linked").symlink_to(source)
    (source / "link.wav").symlink_to(source / "x.wav")
    for path, target in (
        (source / "x.wav", source / "sub" / ".." / "x.wav"),
        (source / "x.wav", tmp_path / "linked" / "x.wav"),
        (source / "link.wav", source / "x.wav"),
    ):
        (task,) = guarded([Task(path, target)])
        assert task.problem is not None and "itself an input" in task.problem


def test_the_same_input_twice_is_a_clash(tmp_path: Path) -> None:
    source = tree(tmp_path, "x.wav") / "x.wav"
    assert all(task.problem for task in guarded([Task(source, tmp_path / "x.apc"), Task(source, tmp_path / "x.apc")]))


def test_a_link_loop_in_the_tree_is_passed_over(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav")
    (source / "loop").symlink_to("loop")
    assert len(plan_folder(source, tmp_path / "out", "wav")) == 1


def test_a_name_too_long_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist"):
        plan_folder(tmp_path / ("x" * 300), tmp_path / "out", "wav")
