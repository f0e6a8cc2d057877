"""A source on a disk that fails, or on a network drive that is gone: the source is named, and the job goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from commands import apcodec
from field_clips import RATE, clip

from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.verification import history_of

BROKEN = "/proc/self/mem"
"""A regular file by what the system says, whose first byte cannot be read."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b.wav", "c.m4a", "d.apc"):
        (folder / name).symlink_to(BROKEN)
    return folder


def test_the_source_is_named_and_the_others_are_done(folder: Path, tmp_path: Path) -> None:
    soundfile.write(folder / "a.wav", clip()[0, :5000], RATE)
    answer = apcodec("transcode", folder, tmp_path / "out")
    assert answer.exit_code == 1 and "1 file done, 3 failed" in answer.stdout
    for name in ("b.wav", "c.m4a", "d.apc"):
        assert f"\n  {folder / name} cannot be read: " in answer.stderr
    assert "internal error" not in answer.stderr and "cannot be written" not in answer.stderr
    assert history_of(tmp_path / "out").failed.keys() == {str(folder / name) for name in ("b.wav", "c.m4a", "d.apc")}


@pytest.mark.parametrize(("command", "name"), [("encode", "b.wav"), ("encode", "c.m4a"), ("decode", "d.apc")])
def test_single_files(folder: Path, tmp_path: Path, command: str, name: str) -> None:
    answer = apcodec(command, folder / name, "-o", tmp_path / ("x.apc" if command == "encode" else "x.wav"))
    assert answer.exit_code == 1 and f"\n  {folder / name} cannot be read: " in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_codes_that_are_only_looked_at(folder: Path) -> None:
    assert isinstance(apcodec("inspect", folder / "d.apc").exception, AudioError)
