"""Arguments that a shell makes of an unset variable, a folder, or a name that no file system takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from commands import apcodec, apcodec_process
from field_clips import clip

LONG = "n" * 300
"""Longer than a name may be: the system's answer is an error, as it is for a folder that may not be searched."""


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.wav"
    path.parent.mkdir()
    soundfile.write(path, clip().T, 48_000)
    return path


@pytest.mark.parametrize("arguments", [("encode", "."), ("decode", ".", "/"), ("encode", "in", ".")])
def test_a_folder_is_named_and_the_files_beside_it_are_done(
    tmp_path: Path, sound: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = apcodec(*arguments, *(["in/a.wav"] if arguments[0] == "encode" else []))
    assert answer.exit_code == 1
    for each in arguments[1:]:
        assert f"{each} is a folder; 'apcodec transcode' converts folders" in answer.output
    assert (tmp_path / "in" / "a.wav.apc").exists() == (arguments[0] == "encode")


@pytest.mark.usefixtures("sound")
def test_an_empty_argument_is_not_the_working_directory(tmp_path: Path) -> None:
    for arguments, place in ((("transcode", "in", ""), 3), (("encode", ""), 2), (("transcode", "", "out"), 2)):
        answer = apcodec_process(*arguments, cwd=tmp_path)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert f"error: argument {place} is empty" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


UNSEEN = (
    *(("encode", "in/a.wav", "--model", LONG), ("transcode", "in", "out", "--model", LONG)),
    *(("transcode", "in", f"{LONG}/out"), ("transcode", "in", LONG), ("verify", LONG), ("pack", LONG, "out")),
    *(("inspect", LONG), ("export", LONG, "bundle"), ("export", f"{LONG}/x", "bundle"), ("build", f"{LONG}/x")),
    *(("train", LONG, "run"), ("train", "in", LONG), ("train", "in", f"{LONG}/run", "--resume")),
    ("triton", "demo", f"{LONG}/models"),
)
EACH = """
import json, sys
from apcodec_deploy.cli.main import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["apcodec", *arguments]
    print("begin", file=sys.stderr)
    try:
        main()
    except SystemExit as end:
        print("code", end.code, file=sys.stderr)
"""


@pytest.mark.usefixtures("sound")
def test_a_name_that_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EACH, json.dumps(UNSEEN)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for arguments, said in zip(UNSEEN, answer.stderr.split("begin\n")[1:], strict=True):
        *_, last, code = said.splitlines()
        assert code == "code 1" and last.startswith("error: ") and LONG in last, (arguments, said)
        assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_folder_below_a_file_is_named_as_that(tmp_path: Path, sound: Path) -> None:
    answer = apcodec("encode", sound, "-o", sound / "a.apc")
    assert answer.exit_code == 1 and "cannot be written: Not a directory" in answer.output


def test_a_name_that_says_another_format_is_refused(tmp_path: Path, sound: Path) -> None:
    assert apcodec("encode", sound).exit_code == 0
    codes = f"{sound}.apc"
    answer = apcodec("decode", codes, "-o", tmp_path / "b.flac", "--to", "wav")
    assert "b.flac ends in flac, and --to says wav; make them agree" in str(answer.exception)
    assert apcodec("decode", codes, "-o", tmp_path / "b.sound", "--to", "wav").exit_code == 0
    assert soundfile.info(tmp_path / "b.sound").format == "WAV"
