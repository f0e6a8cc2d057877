"""A ``manifest.jsonl`` that is the user's own: it stays as it is, and the user is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import apcodec

from apcodec_deploy.errors import ApcodecError, ManifestError, OutputError
from apcodec_deploy.transcoding.manifest import MANIFEST, Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.verification import history_of

SETTINGS = Settings(model="ab" * 32, backend="onnxruntime", precision="float32", to="apc")
NEMO = b'{"audio_filepath": "a.wav", "duration": 1.0, "text": "one"}'
FOREIGN = {
    "NeMo": NEMO + b"\n",
    "NeMo without a newline": NEMO,
    "NeMo with a byte order mark": b"\xef\xbb\xbf" + NEMO + b"\r\n",
    "UTF-16": NEMO.decode().encode("utf-16"),
    "a job of another program": b'{"kind": "job", "format": 1, "queue": "gpu"}\n',
    "a job of another program without a newline": b'{"kind": "job", "queue": "gpu"}',
    "a file before any job": b'{"kind": "file", "source": "a.wav"}\n',
    "JSON over several lines": b"{\n",
    "one character": b"{",
    "a list": b"[1, 2]\n",
    "a number": b"7\n",
    "text": b"notes\nof mine",
    "zeros": b"\0" * 64,
    "a mark alone": b"\xef\xbb\xbf",
}


def begun(folder: Path) -> Path:
    """The manifest of a job that was begun here."""
    with Manifest.open(folder, SETTINGS, fresh=False):
        pass
    return folder / MANIFEST


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("fresh", [False, True], ids=["", "overwrite"])
def test_what_others_wrote_stays_as_it_is(tmp_path: Path, data: bytes, fresh: bool) -> None:
    path = tmp_path / MANIFEST
    path.write_bytes(data)
    with (
        pytest.raises(ManifestError, match=r"line 1: .*did not write this file.*move it away"),
        Manifest.open(tmp_path, SETTINGS, fresh=fresh),
    ):
        pass
    assert path.read_bytes() == data
    with pytest.raises(ManifestError, match="did not write this file"):  # so say verify and pack
        history_of(tmp_path)


@pytest.mark.parametrize("command", ["transcode", "dry run", "verify", "pack"])
def test_every_command_says_so(tmp_path: Path, examples: Path, command: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / MANIFEST).write_bytes(NEMO)
    arguments = {
        "transcode": ("transcode", examples, out, "--to", "apc", "--overwrite"),
        "dry run": ("transcode", examples, out, "--to", "apc", "--dry-run"),
        "verify": ("verify", out),
        "pack": ("pack", out, tmp_path / "shards"),
    }[command]
    answer = apcodec(*arguments)
    assert answer.exit_code == 1
    assert isinstance(answer.exception, ApcodecError) and "did not write this file" in str(answer.exception)
    assert (out / MANIFEST).read_bytes() == NEMO
    assert os.listdir(out) == [MANIFEST] and not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:40],
        lambda data: data + b'{"kind": "fi',
        lambda data: data + b"{",
        lambda data: data + b"\0" * 100,
        lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
        lambda data: data + b"\n\r\n",
    ],
    ids=["empty", "cut at its end", "cut in its first line", "cut", "cut short", "zeros", "Notepad", "empty lines"],
)
def test_what_a_crash_or_an_editor_left_of_ours_is_gone_on_with(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = begun(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    begun(tmp_path)
    assert history_of(tmp_path).settings == {"apc": SETTINGS}
    assert all(json.loads(line) for line in path.read_bytes().splitlines() if line.strip())


def test_what_a_user_wrote_behind_ours_is_not_cut_off(tmp_path: Path) -> None:
    path = begun(tmp_path)
    data = path.read_bytes() + NEMO
    path.write_bytes(data)
    with pytest.raises(ManifestError, match="line 2: none of ours"):
        begun(tmp_path)
    assert path.read_bytes() == data


def test_a_later_format_is_not_to_be_repaired(tmp_path: Path) -> None:
    path = begun(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2').replace(b'"model"', b'"models"'))
    before = path.read_bytes()
    with pytest.raises(ManifestError, match="format 2; this program reads 1: update it") as refused:
        begun(tmp_path)
    assert "remove" not in str(refused.value)
    assert path.read_bytes() == before


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(b"")
    makers: list[tuple[Callable[[Path], object], str, str]] = [
        (Path.mkdir, "cannot be written", "is no regular file"),
        (lambda path: path.symlink_to(tmp_path / "mine.jsonl"), "it is a link; remove it", "is empty"),
        (os.mkfifo, "is no regular file", "is no regular file"),
    ]
    for number, (maker, written, read) in enumerate(makers):
        folder = tmp_path / str(number)
        folder.mkdir()
        maker(folder / MANIFEST)
        with pytest.raises(OutputError, match=written):
            begun(folder)
        with pytest.raises(ManifestError, match=read):
            history_of(folder)
    assert (tmp_path / "mine.jsonl").read_bytes() == b""


def test_a_job_that_never_began_is_not_a_job_without_problems(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).touch()
    with pytest.raises(ManifestError, match="is empty"):
        history_of(tmp_path)
