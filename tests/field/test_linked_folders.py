"""Folders that are symbolic links: followed as if they stood there, or named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec

from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.folder import Task, plan_folder
from apcodec_deploy.transcoding.leftovers import LeftOut


def tree(root: Path, *names: str) -> Path:
    """Make files; a plan needs only their names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"RIFF")
    return root


def planned(source: Path, output: Path) -> tuple[list[str], dict[str, str], list[Task]]:
    """The sources below the input folder, what is left out and why, and the tasks that cannot be done."""
    left_out = LeftOut()
    tasks = plan_folder(source, output, "apc", left_out)
    passed = {str(path): reason for reason, paths in left_out.paths.items() for path in paths}
    return [task.source.relative_to(source).as_posix() for task in tasks], passed, [t for t in tasks if t.problem]


def test_a_corpus_of_links_is_coded_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    soundfile.write(tmp_path / "tone.wav", 0.1 * np.sin(np.arange(24_000) / 20), 48_000)
    for speaker in ("p1", "p2"):
        (disk / speaker).mkdir(parents=True)
        (disk / speaker / "a.wav").symlink_to(tmp_path / "tone.wav")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / speaker).symlink_to(disk / speaker)
    (tmp_path / "in" / "p3").symlink_to(disk / "p3")
    answer = apcodec("transcode", tmp_path / "in", tmp_path / "out", "--to", "apc", "--json")
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["done"] == 2
    assert found["left_out"] == [{"path": str(tmp_path / "in" / "p3"), "reason": "a link that leads nowhere"}]
    assert f"1 left out, a link that leads nowhere: {tmp_path / 'in' / 'p3'}" in answer.stderr
    first, second = ((tmp_path / "out" / speaker / "a.wav.apc").read_bytes() for speaker in ("p1", "p2"))
    assert first == second and not (tmp_path / "out" / "p1").is_symlink()
    assert apcodec("verify", tmp_path / "out").exit_code == 0


def test_a_folder_with_two_names_is_coded_under_both(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "all/p1/a.wav", "b.wav")
    (source / "dev").mkdir()
    (source / "dev" / "p1").symlink_to("../all/p1")
    (source / "alias").symlink_to("dev")
    (source / "c.wav").symlink_to("b.wav")
    names, passed, wrong = planned(source, tmp_path / "out")
    assert names == ["alias/p1/a.wav", "all/p1/a.wav", "b.wav", "c.wav", "dev/p1/a.wav"]
    assert not passed and not wrong


def test_loops_end(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a/x.wav", "b/y.wav")
    (source / "a" / "up").symlink_to("..")
    (source / "a" / "self").symlink_to(".")
    (source / "a" / "b").symlink_to("../b")
    (source / "b" / "a").symlink_to(source / "a")
    (source / "outer").symlink_to(tmp_path)
    (source / "itself").symlink_to("itself")
    names, passed, wrong = planned(source, tmp_path / "out")
    assert names == ["a/b/y.wav", "a/x.wav", "b/a/x.wav", "b/y.wav"]
    assert passed == {str(source / "itself"): "a link that leads nowhere"} and not wrong


def test_a_link_is_never_a_way_into_the_output(tmp_path: Path) -> None:
    source, output = tree(tmp_path / "in", "a.wav"), tree(tmp_path / "out", "sub/old.wav")
    (source / "all").symlink_to(output)
    (source / "part").symlink_to(output / "sub")
    (source / "around").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(output)
    for where in (output, tmp_path / "alias"):
        names, passed, wrong = planned(source, where)
        assert names == ["a.wav"] and not wrong
        assert passed == {str(source / name): "a link into the output folder" for name in ("all", "part")} | (
            {str(source / "around" / "alias"): "a link into the output folder"}
        )


def test_an_output_inside_the_input_is_not_read_and_one_around_it_bars_no_input(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav", "p1/b.wav", "made/old.wav", "in/p2/c.wav")
    (source / "p3").symlink_to("p1")
    names, passed, wrong = planned(source, source / "made")
    assert names == ["a.wav", "in/p2/c.wav", "p1/b.wav", "p3/b.wav"] and not passed and not wrong
    tree(tmp_path, "other/d.wav")
    (source / "p4").symlink_to(tmp_path / "other")  # below the output folder, so perhaps a result
    names, passed, wrong = planned(source, tmp_path)
    assert names == ["a.wav", "in/p2/c.wav", "made/old.wav", "p1/b.wav", "p3/b.wav"]
    assert passed == {str(source / "p4"): "a link into the output folder"}
    assert [task.source.name for task in wrong] == ["c.wav"]
    assert "would stand among the inputs" in str(wrong[0].problem)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "a.wav")
    (source / "p1").symlink_to("/nowhere/p1")
    (source / "b.wav").symlink_to("/nowhere/b.wav")  # fails when it is read, with its reason
    (source / "file").symlink_to(source / "a.wav" / "below a file")
    names, passed, wrong = planned(source, tmp_path / "out")
    assert names == ["a.wav", "b.wav"] and not wrong
    assert passed == {str(source / name): "a link that leads nowhere" for name in ("p1", "file")}


def test_nothing_but_links_that_lead_nowhere_is_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(12):
        (tmp_path / "in" / f"p{number:02}").symlink_to("/nowhere")
    with pytest.raises(AudioError, match="holds no audio"):
        planned(tmp_path / "in", tmp_path / "out")
    answer = apcodec("transcode", tmp_path / "in", tmp_path / "out", "--to", "apc")
    assert answer.exit_code == 1
    assert "12 left out, a link that leads nowhere" in answer.stderr
    assert "p00" in answer.stderr and "and 2 more" in answer.stderr
