"""Names that are not ASCII, or no text at all, in a process whose locale knows only ASCII."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pyarrow.parquet
import pytest
import soundfile
from commands import apcodec

NAMES = ["ü.wav".encode(), "日本/€.wav".encode(), b"caf\xe9.wav", b"new\nline.wav", b"plain.wav"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UTF_8 = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
SCRIPT = """
import json, os, sys
from apcodec_deploy.cli.main import main

expected = "ascii" if os.environ["PYTHONUTF8"] == "0" else "utf-8"
assert sys.getfilesystemencoding() == expected, sys.getfilesystemencoding()
for line in sys.stdin.buffer:
    sys.argv = ["apcodec", *(os.fsdecode(bytes.fromhex(word)) for word in line.decode().split())]
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    sys.stdout.write("\\0%d\\0" % (code or 0))
"""
"""Run a command for each line, in one process, and tell what it printed and its exit code."""


def commands(locale: dict[str, str], cwd: Path, *calls: list[bytes | str]) -> list[tuple[str, int]]:
    """What commands print in a process of that locale, and their exit codes."""
    lines = [" ".join((os.fsencode(word)).hex() for word in call) for call in calls]
    deciding = tuple(name for name in os.environ if name.startswith(("LC_", "LANG", "PYTHON")) and name != "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in deciding}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(lines).encode(),
        cwd=cwd,
        env={**environment, **locale},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr and done.returncode == 0, done.stderr.decode(errors="replace")
    parts = done.stdout.decode("ascii" if locale is ASCII else "utf-8").split("\0")
    return [(text, int(code)) for text, code in zip(parts[::2], parts[1::2], strict=False)]


def files(folder: Path) -> dict[bytes, bytes]:
    """Results by their names' bytes."""
    root = os.fsencode(folder)
    found = {}
    for here, _, names in os.walk(root):
        for name in names:
            path = os.path.join(here, name)
            if name != b"manifest.jsonl":
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """A folder of files with such names, and what a UTF-8 process makes of them."""
    work = tmp_path_factory.mktemp("work")
    audio, rate = soundfile.read(examples / "speech_female_48k.wav", stop=6000)
    for name in NAMES:
        path = work / "in" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            soundfile.write(file, audio, rate, format="WAV")
    before = os.getcwd()
    os.chdir(work)
    try:
        assert apcodec("transcode", "in", "utf8", "--to", "apc").exit_code == 0
        assert apcodec("pack", "utf8", "shards-utf8").exit_code == 0
        assert apcodec("pack", "utf8", "rows-utf8", "--to", "parquet").exit_code == 0
    finally:
        os.chdir(before)
    return work


def test_a_job_of_utf_8_is_gone_on_with_checked_and_packed_in_ascii(work: Path) -> None:
    again, checked, *packed = commands(
        ASCII,
        work,
        ["transcode", "in", "utf8", "--to", "apc", "--json"],
        ["verify", "utf8", "--json"],
        ["pack", "utf8", "shards-ascii"],
        ["pack", "utf8", "rows-ascii", "--to", "parquet"],
        ["pack", "utf8", "shards-utf8", "--json"],
    )
    assert again[1] == 0
    results = json.loads(again[0])["files"]
    assert {each["reason"] for each in results} == {"it was done before"}
    assert {each["source"].encode("utf-8", "surrogateescape") for each in results} == {b"in/" + name for name in NAMES}
    assert json.loads(checked[0]) == {"checked": len(NAMES), "problems": {}, "failed": {}, "unknown": []}
    assert [code for _, code in packed] == [0, 0, 0]
    assert json.loads(packed[2][0])["written"] == 0
    assert files(work / "shards-ascii") == files(work / "shards-utf8")
    assert files(work / "rows-ascii") == files(work / "rows-utf8")


def test_a_job_of_ascii_is_that_of_utf_8(work: Path) -> None:
    ((_, code),) = commands(ASCII, work, ["transcode", "in", "ascii", "--to", "apc"])
    assert code == 0
    assert files(work / "ascii") == files(work / "utf8")
    ours, theirs = ((work / name / "manifest.jsonl").read_text().splitlines() for name in ("ascii", "utf8"))
    for field in ("source", "output"):
        assert {json.loads(line).get(field) for line in ours} == {json.loads(line).get(field) for line in theirs}
    checked, again = commands(
        UTF_8, work, ["verify", "ascii", "--json"], ["transcode", "in", "ascii", "--to", "apc", "--json"]
    )
    assert json.loads(checked[0]) == {"checked": len(NAMES), "problems": {}, "failed": {}, "unknown": []}
    assert json.loads(again[0])["skipped"] == len(NAMES)


def test_keys_of_shards_give_the_names_back(work: Path) -> None:
    with tarfile.open(work / "shards-utf8" / "000000.tar") as tar:
        members = [member.name for member in tar if member.name.endswith(".json")]
        facts = [json.loads(tar.extractfile(name).read()) for name in members]  # type: ignore[union-attr]
    keys = [name.removesuffix(".json") for name in members]
    rows = pyarrow.parquet.read_table(work / "rows-utf8" / "000000.parquet").to_pylist()
    assert [row["key"] for row in rows] == keys and all(key.isascii() and key.isprintable() for key in keys)
    assert sorted(unquote_to_bytes(key) for key in keys) == sorted(NAMES)
    for source in (*(each["source"] for each in facts), *(row["source"] for row in rows)):
        source.encode()  # text that any reader takes
    assert {row["source"] for row in rows} == {each["source"] for each in facts}
    assert {"in/ü.wav", "in/caf\\xe9.wav", "in/new\nline.wav"} < {row["source"] for row in rows}


def test_single_files_are_coded_cut_joined_and_decoded(work: Path) -> None:
    folder = Path(shutil.copytree(work / "in", work / "single"))
    names = (b"\xc3\xbc.wav", b"caf\xe9.wav", b"new\nline.wav")
    codes = [name + b".apc" for name in names]
    calls: list[list[bytes | str]] = [
        ["encode", *names],
        *(["slice", name, "-o", b"cut-" + name, "--end", "0.05"] for name in codes),
        *(["concat", b"cut-" + name, name, "-o", b"joined-" + name] for name in codes),
        *(["inspect", name] for name in codes),
        ["decode", *(b"joined-" + name for name in codes), "--to", "flac"],
        ["transcode", b"no-" + names[0], "out"],
    ]
    found = commands(ASCII, folder, *calls)
    assert [code for _, code in found] == [0] * (len(calls) - 1) + [1]
    for name in names:
        with open(os.fsencode(folder) + b"/joined-" + name + b".flac", "rb") as file:
            assert soundfile.info(file).frames > 6000


def test_lists_name_files_under_any_locale(work: Path) -> None:
    (work / "list.txt").write_bytes(b"\xc3\xbc.wav\ncaf\xe9.wav\n")
    (work / "list.csv").write_bytes(b"\xef\xbb\xbfpath;name\r\n\xc3\xbc.wav;\xc3\xa4\r\ncaf\xe9.wav;x\r\n")
    (work / "list.jsonl").write_bytes(
        b'{"path": "\\u00fc.wav", "name": "\\u00e4"}\n{"path": "caf\xe9.wav", "name": "x"}\n'
    )
    calls: list[list[bytes | str]] = [
        ["transcode", "in", f"by-{name}", "--to", "apc", "--files-from", f"list.{name}"]
        for name in ("txt", "csv", "jsonl")
    ]
    assert [code for _, code in commands(ASCII, work, *calls)] == [0, 0, 0]
    whole = files(work / "utf8")
    codes = [whole["ü.wav.apc".encode()], whole[b"caf\xe9.wav.apc"]]
    for name, results in (
        ("txt", ["ü.wav.apc".encode(), b"caf\xe9.wav.apc"]),
        ("csv", ["ä.apc".encode(), b"x.apc"]),
        ("jsonl", ["ä.apc".encode(), b"x.apc"]),
    ):
        assert files(work / f"by-{name}") == dict(zip(results, codes, strict=True))
