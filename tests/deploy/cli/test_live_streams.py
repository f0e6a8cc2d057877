"""``encode --live`` and ``decode`` in a shell's pipe: one token in, its codes out, its sound out."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import EncodedAudio
from apcodec_deploy.bitstream.writer import LiveWriter

HEADER, TOKEN, DELAY = 56, 17, 280
WAV_HEAD = (
    b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 48_000, 96_000, 2, 16) + b"data\xff\xff\xff\xff"
)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Starts a command as a shell does, with every signal as it comes: tests may run where some are ignored.
START = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "apcodec_deploy.cli.main", *sys.argv[1:]])
"""


class Command:
    """A command between two pipes, of which nothing is held back here."""

    def __init__(self, *arguments: object, model: Path, folder: Path) -> None:
        words = [*map(str, arguments), "--model", str(model), "--backend", "onnxruntime"]
        command = [sys.executable, "-c", START, *words]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def read(self, size: int) -> bytes:
        """So many bytes; it fails where they do not come, as long as nothing more is written."""
        assert self.process.stdout is not None
        data, until = b"", time.monotonic() + 30
        while len(data) < size:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            assert ready, f"{len(data)} of {size} bytes have come"
            part = os.read(self.process.stdout.fileno(), size - len(data))
            assert part, self.end()
            data += part
        return data

    def end(self) -> tuple[int, bytes, str]:
        """Exit code, the rest of what it gave, and what it said, once its input is closed."""
        rest, said = self.process.communicate(timeout=30)
        return self.process.returncode, rest, said.decode()


Start = Callable[..., Command]


@pytest.fixture
def started(streamable_bundle: Path, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as commands:
        yield lambda *arguments: commands.enter_context(Command(*arguments, model=streamable_bundle, folder=tmp_path))


def test_a_token_passes_before_the_next_is_written(
    started: Start, streamable_bundle: Path, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    audio = np.rint(speech[: 320 * 20 + 57] * 20_000).astype("<i2")
    encode, decode = started("encode", "-", "-o", "-", "--live"), started("decode", "-", "-o", "-")
    encode.write(WAV_HEAD)
    codes = encode.read(HEADER)
    decode.write(codes)
    assert decode.read(len(WAV_HEAD)) == WAV_HEAD
    sound = b""
    for number in range(20):
        encode.write(audio[number * 320 : (number + 1) * 320].tobytes())
        token = encode.read(TOKEN)
        decode.write(token)
        sound += decode.read(2 * (320 if number else 320 - DELAY))
        codes += token
    encode.write(audio[20 * 320 :].tobytes())
    code, rest, said = encode.end()
    assert (code, said) == (0, "0.135 s of audio coded\n")
    decode.write(rest)
    code, tail, said = decode.end()
    assert (code, said) == (0, "0.135 s of audio decoded\n")
    with apcodec_deploy.load(streamable_bundle, "onnxruntime", device="cpu") as codec:
        whole = codec.encode(audio / np.float32(32768))
        expected = np.clip(np.rint(codec.decode(whole).astype(np.float64) * 32768), -32768, 32767)
    (tmp_path / "a.apc").write_bytes(codes + rest)
    found = EncodedAudio.load(tmp_path / "a.apc")
    assert np.array_equal(found.codes, whole.codes) and found.samples == len(audio)
    assert np.array_equal(np.frombuffer(sound + tail, "<i2"), expected)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_signal_ends_it_while_the_producer_is_silent(
    started: Start, live_file: Path, command: str, number: signal.Signals
) -> None:
    running = started(command, "-", "-o", "-", *["--live"] * (command == "encode"))
    running.write(WAV_HEAD + bytes(640) if command == "encode" else live_file.read_bytes()[: HEADER + TOKEN])
    running.read(HEADER if command == "encode" else len(WAV_HEAD))
    begun = time.monotonic()
    running.process.send_signal(number)
    running.process.wait(10)
    assert time.monotonic() - begun < 2
    code, _, said = running.end()
    assert code == 128 + number
    assert said == "stopped; finished files stay, and nothing is left half written\n"


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_reader_that_leaves_ends_it_while_the_producer_is_silent(
    started: Start, live_file: Path, command: str
) -> None:
    running = started(command, "-", "-o", "-", *["--live"] * (command == "encode"))
    running.write(WAV_HEAD + bytes(640) if command == "encode" else live_file.read_bytes()[: HEADER + TOKEN])
    running.read(HEADER if command == "encode" else len(WAV_HEAD))
    assert running.process.stdout is not None and running.process.stderr is not None
    running.process.stdout.close()
    assert running.process.wait(10) == 141
    assert running.process.stderr.read() == b""


def test_a_file_appears_whole_or_not_at_all(started: Start, tmp_path: Path, live_file: Path) -> None:
    writing = started("encode", "-", "-o", tmp_path / "a.apc", "--live")
    writing.write(WAV_HEAD + bytes(6400))
    until = time.monotonic() + 20
    while not (parts := list(tmp_path.glob("*.part"))) or parts[0].stat().st_size < HEADER + TOKEN:
        assert time.monotonic() < until, "the codes of what has come are not in the file"
        time.sleep(0.01)
    writing.process.send_signal(signal.SIGTERM)
    assert writing.end()[0] == 143
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def live_file(streamable_bundle: Path, speech: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech as a live file, in chunks of different sizes."""
    path = tmp_path_factory.mktemp("live") / "a.apc"
    with apcodec_deploy.load(streamable_bundle, "onnxruntime", device="cpu") as codec, path.open("wb") as file:
        encoder = codec.encoder()
        header = codec.header(48_000, 1, codec.layout(), one_dimensional=True, trailer=True)
        writer = LiveWriter(file, replace(header, live=True))
        for block in np.split(speech[:48_000], [320, 1_000, 9_000, 9_320]):
            writer.write(encoder.push(block))
        writer.finish(encoder.flush(), encoder.samples)
    return path


def test_every_command_takes_a_live_file(
    streamable_bundle: Path, live_file: Path, speech: NDArray[np.float32], tmp_path: Path
) -> None:
    """What they write has chunks of one size, and the same codes."""
    model = ("--model", streamable_bundle)

    def run(*arguments: object) -> str:
        result = apcodec(*arguments)
        assert result.exit_code == 0, result.output
        return result.output

    assert "live                      True" in run("inspect", live_file)
    whole = EncodedAudio.load(live_file)
    assert whole.header.live
    run("decode", live_file, "-o", tmp_path / "a.wav", "--subtype", "FLOAT", *model)
    with apcodec_deploy.load(streamable_bundle) as codec:
        assert np.array_equal(codec.encode(speech[:48_000]).codes, whole.codes)
        assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], codec.decode(whole))
    run("slice", live_file, "-o", tmp_path / "b.apc", "--end", "0.4")
    run("slice", live_file, "-o", tmp_path / "c.apc", "--start", "0.4")
    run("concat", tmp_path / "b.apc", tmp_path / "c.apc", "-o", tmp_path / "d.apc")
    run("concat", live_file, live_file, "-o", tmp_path / "e.apc")
    run("transcode", live_file.parent, tmp_path / "codes", "--to", "apc", *model)
    run("verify", tmp_path / "codes", "--deep", *model)
    run("pack", tmp_path / "codes", tmp_path / "shards")
    for name in ("b.apc", "c.apc", "d.apc", "e.apc", "codes/a.apc"):
        assert not EncodedAudio.load(tmp_path / name).header.live
    copied = EncodedAudio.load(tmp_path / "codes" / "a.apc")
    assert np.array_equal(copied.codes, whole.codes) and copied.samples == whole.samples
    assert (tmp_path / "codes" / "a.apc").stat().st_size < live_file.stat().st_size
    encoded = EncodedAudio.load(tmp_path / "d.apc")
    assert np.array_equal(encoded.codes[:, :, :59], whole.codes[:, :, :59])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.wav", "b.wav", "-o", "folder", "--live"), "one stream is expected"),
        (("a.wav", "--live"), "one stream is expected"),
        (("a.wav", "-o", "a.apc", "--live", "--jobs", "2"), "leave --jobs and --json away"),
        (("a.wav", "-o", "a.apc", "--live", "--json"), "leave --jobs and --json away"),
        (("a.wav", "-o", "a.apc", "--live", "--window", "1"), "has no windows"),
    ],
)
def test_what_cannot_be_live_is_refused(streamable_bundle: Path, arguments: tuple[str, ...], words: str) -> None:
    result = apcodec("encode", *arguments, "--model", streamable_bundle)
    assert words in str(result.exception)


def test_a_model_that_is_not_causal_is_refused_before_anything_is_read() -> None:
    result = apcodec("encode", "nowhere.wav", "-o", "a.apc", "--live")
    assert "take a model of the family apcodec-s" in str(result.exception)
