"""Jobs that are interrupted: all of it stops, at once if need be, and nothing is left half written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio_files import Audio, files, wav

pytestmark = pytest.mark.usefixtures("every_cpu")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


_INTERRUPTED = """
import faulthandler, os, signal, sys, threading, time
from pathlib import Path
import apcodec_deploy
from apcodec_deploy.codec import Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, Progress, run

faulthandler.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
codec, heard, release = apcodec_deploy.load(), threading.Event(), threading.Event()


def interrupt(times):
    heard.wait()
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)


def job(codec, times):
    threading.Thread(target=interrupt, args=(times,), daemon=True).start()
    try:
        run(
            codec,
            plan_folder(Path("in"), Path("out"), "apc"),
            ConversionOptions(form=None),
            JobOptions(jobs=2),
            progress=Progress(heard=lambda seconds: heard.set()),
        )
    except KeyboardInterrupt:
        return
    sys.exit("the interrupt was not heard")

"""

"""Jobs that interrupt themselves, in a process of their own: a signal that comes late must not end the tests."""


def interrupted(folder: Path, script: str) -> None:
    """Run a script after ``_INTERRUPTED``, which must end well."""
    command = [sys.executable, "-c", _INTERRUPTED + script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_stops_all_jobs_and_leaves_nothing_half_written(tmp_path: Path, speech: Audio) -> None:
    for index in range(6):
        wav(tmp_path / "in" / f"{index}.wav", np.tile(speech, 4))
    interrupted(tmp_path, "job(codec, 1)")
    left = files(tmp_path / "out")
    assert len(left) < 6
    assert all(name.endswith(".wav.apc") for name in left)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("how", "to"),
    [
        (signal.SIGINT, "wav"),
        (signal.SIGTERM, "apc"),
        pytest.param(signal.SIGINT, "apc", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "wav", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "apc", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "wav", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_is_interrupted_says_so_and_cleans_up(
    tmp_path: Path, speech: Audio, how: signal.Signals, to: str
) -> None:
    wav(tmp_path / "in" / "a.wav", np.tile(speech, 20 if to == "apc" else 3))  # audio is begun when all is coded
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", "transcode", "in", "out", "--to", to]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "out").glob(".apcodec-*")):
        time.sleep(0.02)
    process.send_signal(how)
    assert process.stderr is not None
    with process.stderr:
        words = process.stderr.read()
    assert process.wait() == 128 + how
    assert "nothing is left half written" in words
    assert list(files(tmp_path / "out")) == ["manifest.jsonl"]


def test_a_second_interrupt_does_not_wait(tmp_path: Path, speech: Audio) -> None:
    """The first one waits for what is under way, here a codec that takes its time."""
    wav(tmp_path / "in" / "a.wav", speech)
    interrupted(
        tmp_path,
        """
class Slow:
    batch_limit, name, precision = 1, "slow", "float32"

    def encode(self, audio):
        heard.set()
        release.wait(60)
        return codec.backend.encode(audio)


begun = time.monotonic()
job(Codec(codec.bundle, Slow()), 2)
assert time.monotonic() - begun < 30
release.set()
while list(Path("out").iterdir()):  # what it was at is stopped and cleaned up after all
    assert time.monotonic() - begun < 60
    time.sleep(0.05)
""",
    )
