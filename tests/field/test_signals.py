"""Signals that ask for the end: heard at once, whatever a pipe gives or takes, and nothing is left half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.cli.aside import Feed, aside
from apcodec_deploy.transcoding import desk as desks
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.desk import Desk
from apcodec_deploy.transcoding.folder import Task, plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.watch import Stage, Watch

pytestmark = pytest.mark.usefixtures("every_cpu")

APCODEC = (sys.executable, "-m", "apcodec_deploy.cli.main")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Starts a command as a shell does: with every signal as it comes, or some of them ignored.
START = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN if name in sys.argv[1].split() else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "apcodec_deploy.cli.main", *sys.argv[2:]])
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of tone, in a folder of its own."""
    path = tmp_path / "clips" / "a.wav"
    path.parent.mkdir()
    soundfile.write(path, 0.1 * np.sin(np.arange(2 * 48_000) / 20), 48_000)
    return path


def started(folder: Path, *arguments: object, ignored: str = "") -> subprocess.Popen[bytes]:
    """A command between two pipes."""
    command = [sys.executable, "-c", START, ignored, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe)


def parts(folder: Path) -> list[Path]:
    """Files that are being written."""
    return [path for path in folder.iterdir() if path.suffix == ".part"]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(f"{process.args!r} did not come so far")
        time.sleep(0.02)


def ended(process: subprocess.Popen[bytes], number: int, seconds: float) -> bytes:
    """What a process says on stderr that is sent a signal; it ends within so many seconds, with that signal's code."""
    assert process.stderr is not None and process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout, process.stderr:
        process.send_signal(number)
        begun = time.monotonic()
        code = process.wait(60)
        assert time.monotonic() - begun < seconds
        assert code == 128 + number
        return process.stderr.read()


def listening(process: subprocess.Popen[bytes]) -> bool:
    """Whether a command has begun to listen to signals, as Linux tells."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt"):
            return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))
    return False


@pytest.mark.parametrize("number", ENDING)
def test_a_silent_producer_holds_nothing_up(tmp_path: Path, clip: Path, number: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    process = started(out, "encode", "-", "-o", "x.apc")
    assert process.stdin is not None
    process.stdin.write(clip.read_bytes()[:100_000])
    process.stdin.flush()
    wait_for(lambda: parts(out), process)
    time.sleep(0.3)  # what there is has been read by now
    said = ended(process, number, 15)
    assert said == b"stopped; finished files stay, and nothing is left half written\n"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_that_comes_twice_leaves_nothing_half_written(tmp_path: Path, clip: Path, number: int) -> None:
    """As a terminal and a parent process send it: the second one comes while the first is being obeyed."""
    soundfile.write(clip, np.tile(soundfile.read(clip)[0], 60), 48_000)
    out = tmp_path / "out"
    out.mkdir()
    process = started(out, "encode", clip, "-o", "x.apc")
    wait_for(lambda: parts(out), process)
    time.sleep(0.5)
    process.send_signal(number)
    for _ in range(3):
        time.sleep(0.03)
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (128 + number, -number)  # the latter where one finds Python at its end
    assert said == b"stopped; finished files stay, and nothing is left half written\n"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_producer_that_has_not_begun_holds_nothing_up(tmp_path: Path, command: str) -> None:
    process = started(tmp_path, command, "-", "-o", "x.apc" if command == "encode" else "x.wav")
    wait_for(lambda: listening(process), process)
    time.sleep(0.5)
    ended(process, signal.SIGTERM, 15)
    assert list(tmp_path.iterdir()) == []


def test_a_consumer_that_takes_nothing_holds_nothing_up(tmp_path: Path, clip: Path) -> None:
    """Its pipe is full, in which the command waits natively; after a while it is left there."""
    with apcodec_deploy.load() as codec:
        codec.encode(soundfile.read(clip, dtype="float32")[0]).save(tmp_path / "a.apc")
    process = started(tmp_path, "decode", "a.apc", "-o", "-")
    assert process.stdout is not None
    process.stdout.read(1)
    ended(process, signal.SIGTERM, 20)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.apc"]


def test_what_is_ignored_stays_ignored(tmp_path: Path, clip: Path) -> None:
    """As under nohup, or behind & in a script."""
    process = started(tmp_path, "encode", "-", "-o", "x.apc", ignored="SIGHUP SIGINT")
    assert process.stdin is not None
    process.stdin.write(clip.read_bytes()[:100_000])
    process.stdin.flush()
    wait_for(lambda: parts(tmp_path), process)
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    _, said = process.communicate(clip.read_bytes()[100_000:])
    assert (process.returncode, said) == (0, b"2.000 s of audio coded\n")


def test_what_a_killed_run_leaves_is_no_hindrance(tmp_path: Path, clip: Path) -> None:
    process = started(tmp_path, "encode", "-", "-o", "x.apc")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        wait_for(lambda: parts(tmp_path), process)
        process.kill()
        process.wait()
    assert len(parts(tmp_path)) == 1
    subprocess.run([*APCODEC, "encode", str(clip), "-o", "x.apc"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "x.apc").exists()
    tasks = plan_folder(tmp_path, tmp_path / "out", "apc")
    assert all(task.source.suffix != ".part" for task in tasks)


INTERRUPTED = """
import os, signal, threading
from apcodec_deploy.cli.aside import Feed, aside

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores behind &
source, silent = os.pipe()
feed, seen = Feed(source), []

def work(watch):
    while block := os.read(feed.descriptor, 100):
        seen.append(block)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

os.write(silent, b"half")
try:
    print("the work was done:", aside(work, feed))
except KeyboardInterrupt:
    print(seen)
"""


def test_an_interrupt_does_not_make_half_a_stream_whole() -> None:
    """What is fed ends when it is stopped; that end must not be taken for the clip's. In a process of its own."""
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "[b'half']\n"), ran.stderr


LOST = """
import os, signal, sys, threading
from apcodec_deploy.cli.aside import Feed, aside
from apcodec_deploy.cli.signals import Signals

Signals().listen()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    pass
feed = Feed(os.pipe()[0]) if sys.argv[1] == "fed" else None
wait = threading.Event().wait if feed is None else lambda: list(feed.blocks())
try:
    aside(lambda watch: wait(), feed)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize("how", ["fed", "alone"])
def test_a_signal_whose_exception_was_lost_is_heard_all_the_same(how: str) -> None:
    """Packages that are being imported catch what they do not know."""
    ran = subprocess.run([sys.executable, "-c", LOST, how], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "heard\n"), ran.stderr


BROKEN_OFF = """
import os, signal
from apcodec_deploy.cli import main
from apcodec_deploy.errors import MissingDependencyError

def run():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        raise {error} from None

main._run = run
main.main()
"""


@pytest.mark.parametrize("error", ['MissingDependencyError("it cannot run")', 'ImportError("initialization failed")'])
def test_an_error_that_a_signal_becomes_is_not_told(error: str) -> None:
    """Packages that are being imported turn what they do not know into an error of their own."""
    program = BROKEN_OFF.format(error=error)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGTERM, "")


def test_work_that_ends_early_ends_its_feed() -> None:
    """An error in what has come is told while the producer is silent."""
    source, silent = os.pipe()
    os.write(silent, b"nonsense")
    feed = Feed(source)

    def work(watch: Watch) -> None:
        raise ValueError(os.read(feed.descriptor, 100))

    with pytest.raises(ValueError, match="nonsense"):
        aside(work, feed)
    os.close(source)
    os.close(silent)


def test_a_conversion_that_reads_in_vain_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "_PATIENCE", 0.3)
    desk = Desk([Task(Path("a"), Path("b"), None)], lambda seconds: None)
    place = desk.take()
    assert place is not None
    with place.watch.during(Stage.READING):
        begun = time.monotonic()
        desk.stop()
        assert 0.2 < time.monotonic() - begun < 2


def test_threads_have_ended_when_a_job_has(codec: Codec, clip: Path, tmp_path: Path) -> None:
    """So nothing that they hold is freed while the caller goes on, or Python ends."""
    before = set(threading.enumerate())
    tasks = plan_folder(clip.parent, tmp_path / "out", "apc")
    run(codec, tasks, ConversionOptions(form=None), JobOptions(jobs=3))
    assert set(threading.enumerate()) <= before
