"""Standard streams that are full or closed, or that their reader has left.

The first two are one line on stderr and exit 1. A reader that leaves has enough: nothing is said, exit 141.
Nothing is ever left half written.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec

from apcodec_deploy import EncodedAudio

# Runs a command in a process whose standard streams were made so before Python began.
START = """
import os, sys
for name in sys.argv[1].split():
    kind, number = name.split(":")
    if kind == "closed":
        os.close(int(number))
    else:
        os.dup2(os.open("/dev/full", os.O_WRONLY), int(number))
os.execv(sys.executable, [sys.executable, "-m", "apcodec_deploy.cli.main", *sys.argv[2:]])
"""
FULL, CLOSED = "full:1", "closed:1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip and its codes, which nothing may be added to."""
    from apcodec_deploy import load

    folder = tmp_path_factory.mktemp("streams")
    tone = (0.1 * np.sin(np.arange(9000) / 20)).astype(np.float32)
    soundfile.write(folder / "a.wav", tone, 48_000, subtype="FLOAT")
    with load() as codec:
        codec.encode(tone).save(folder / "a.apc")
    return folder


def run(folder: Path, streams: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A command with its streams in such a state."""
    command = [sys.executable, "-c", START, streams, *arguments]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [
        *itertools.product(("--help", "encode a.wav -o -", "decode a.apc -o -"), (FULL, CLOSED)),
        ("doctor", FULL),
        pytest.param("doctor", CLOSED, marks=pytest.mark.slow),
        *(
            pytest.param(arguments, streams, marks=pytest.mark.slow)
            for arguments in ("--version", "transcode --help", "inspect a.apc --json", "transcode . out --dry-run")
            for streams in (FULL, CLOSED)
        ),
    ],
)
def test_output_that_nobody_gets_is_an_error(folder: Path, arguments: str, streams: str) -> None:
    before = sorted(folder.iterdir())
    ran = run(folder, streams, *arguments.split())
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"error: standard output ")
    assert ran.stderr.endswith((b"No space left on device\n", b"is closed\n")) and ran.stderr.count(b"\n") == 1
    assert sorted(folder.iterdir()) == before


def test_what_was_done_stays_done(folder: Path, tmp_path: Path) -> None:
    """Only the answer is lost."""
    ran = run(folder, FULL, "transcode", "a.wav", str(tmp_path / "out"), "--to", "apc", "--json")
    assert ran.returncode == 1 and ran.stderr.count(b"\n") == 1
    assert EncodedAudio.load(tmp_path / "out" / "a.wav.apc").samples == 9000


@pytest.mark.parametrize("arguments", ["encode - -o x.apc", "decode - -o x.wav", "transcode . out --files-from -"])
def test_input_that_is_closed_is_an_error(folder: Path, arguments: str) -> None:
    before = sorted(folder.iterdir())
    ran = run(folder, "closed:0", *arguments.split())
    assert (ran.returncode, ran.stderr) == (1, b"error: standard input is closed\n")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("streams", ["full:2", "closed:2", "closed:0 closed:1 closed:2"])
def test_nothing_that_is_written_gets_into_a_closed_streams_place(folder: Path, tmp_path: Path, streams: str) -> None:
    """What is said goes nowhere; the result is as it always is, though its file could get the number of a stream."""
    target = tmp_path / "a.wav.apc"
    ran = run(folder, streams, "encode", "a.wav", "-o", str(target))
    assert ran.returncode == (1 if CLOSED in streams else 0) and ran.stderr == b""
    np.testing.assert_array_equal(EncodedAudio.load(target).codes, EncodedAudio.load(folder / "a.apc").codes)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        pytest.param("--help", marks=pytest.mark.slow),
        pytest.param("doctor", marks=pytest.mark.slow),
        pytest.param("doctor --json", marks=pytest.mark.slow),
        pytest.param("inspect a.apc --json", marks=pytest.mark.slow),
        "encode - -o -",
        "decode a.apc -o -",
        pytest.param("transcode . out --dry-run", marks=pytest.mark.slow),
    ],
)
def test_a_reader_that_has_gone_is_not_told(folder: Path, arguments: str) -> None:
    before = sorted(folder.iterdir())
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", *arguments.split()]
    with (folder / "a.wav").open("rb") as audio:
        ran = subprocess.run(
            command, cwd=folder, stdin=audio, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
        )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("arguments", [pytest.param("doctor", marks=pytest.mark.slow), "inspect", "transcode --help"])
def test_a_reader_may_leave_after_the_first_line(folder: Path, arguments: str) -> None:
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", *arguments.split()]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) in (0, 141)  # 0 where all of it was written before


def _flipped(codes: bytes) -> bytes:
    return codes[:100] + bytes([codes[100] ^ 1]) + codes[101:]


def test_codes_are_decoded_from_standard_input_to_standard_output(folder: Path, tmp_path: Path) -> None:
    streamed = run(folder, "", "encode", "-", "-o", "-", given=(folder / "a.wav").read_bytes())
    assert streamed.stderr == b"0.188 s of audio coded\n"
    saved = run(folder, "", "decode", "-", "-o", "-", given=(folder / "a.apc").read_bytes())
    assert saved.stderr == b"0.188 s of audio decoded\n"
    (tmp_path / "a.wav").write_bytes(saved.stdout)
    assert soundfile.info(tmp_path / "a.wav").frames == 9000
    run(folder, "", "decode", "-", "-o", str(tmp_path / "b.wav"), given=streamed.stdout)
    assert (tmp_path / "b.wav").read_bytes() == saved.stdout
    to_flac = run(folder, "", "decode", "a.apc", "-o", "-", "--to", "flac")
    assert to_flac.stdout.startswith(b"fLaC")


@pytest.mark.parametrize(
    ("change", "words", "output"),
    [
        (lambda codes: codes[:-1], "is cut", "-"),
        pytest.param(lambda codes: codes[:-1], "is cut", "x.wav", marks=pytest.mark.slow),
        pytest.param(_flipped, "checksum", "-", marks=pytest.mark.slow),
        (_flipped, "checksum", "x.wav"),
        (lambda codes: b"RIFF" + codes, "not a .apc file", "-"),
        pytest.param(lambda codes: b"RIFF" + codes, "not a .apc file", "x.wav", marks=pytest.mark.slow),
        pytest.param(lambda codes: b"", "not a .apc file", "-", marks=pytest.mark.slow),
        (lambda codes: b"", "not a .apc file", "x.wav"),
    ],
)
def test_damaged_codes_leave_nothing(folder: Path, change: Callable[[bytes], bytes], words: str, output: str) -> None:
    before = sorted(folder.iterdir())
    ran = run(folder, "", "decode", "-", "-o", output, given=change((folder / "a.apc").read_bytes()))
    assert ran.returncode == 1 and ran.stdout == b""
    assert ran.stderr.startswith(b"error: standard input: ") and words in ran.stderr.decode()
    assert sorted(folder.iterdir()) == before


def test_a_stream_needs_somewhere_to_go() -> None:
    for arguments in ("decode -", "decode - a.apc -o -", "encode -"):
        answer = apcodec(*arguments.split())
        assert answer.stdout == "" and "one input, and -o with a file or -" in str(answer.exception)


@pytest.mark.parametrize("command", ["slice", "concat"])
def test_codes_are_not_written_into_a_file_called_like_standard_output(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = apcodec(command, folder / "a.apc", "-o", "-")
    assert answer.exit_code == 1 and "codes go into a .apc file, not -" in str(answer.exception)
    assert not list(tmp_path.iterdir())
