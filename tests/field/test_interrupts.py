"""Ctrl-C never ends in a crash: what native code is at when an interrupt comes is not freed under it.

Each of these ended a process with a signal, or could: a container read on after it was closed, Python taken apart
while a thread of ours is in native code, a thread that is interrupted while it is being started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apcodec_deploy import Codec
from apcodec_deploy.cli.aside import aside
from apcodec_deploy.transcoding.watch import Watch
from apcodec_deploy.workers import Worker, any_left, join_all

pytestmark = pytest.mark.usefixtures("every_cpu")

CONTAINER = """
import sys
from pathlib import Path
import av
import numpy as np
from apcodec_deploy import AudioError
from apcodec_deploy.audio.av_reader import AvReader

def write(path):
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.layout = "mono"
        for index in range(300):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
"""
CLOSED = (
    CONTAINER
    + """
write(Path("a.m4a"))
for _ in range(20):
    with AvReader(Path("a.m4a")) as reader:
        blocks = reader.blocks()
        next(blocks)
    try:
        while True:
            next(blocks)
    except AudioError as error:
        assert "closed" in str(error), error
    except StopIteration:
        raise SystemExit("it was read on")
"""
)


def python(code: str, folder: Path, *arguments: str, seconds: float = 60) -> None:
    """Run a program; it must end by itself, and well."""
    command = [sys.executable, "-X", "faulthandler", "-c", code, *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_a_container_that_is_closed_is_not_read_on(tmp_path: Path) -> None:
    python(CLOSED, tmp_path)


def test_native_reading_is_not_done_where_signals_are_heard() -> None:
    """The exception of a signal would be lost in a native library's callback."""
    assert aside(lambda watch: threading.current_thread()) is not threading.main_thread()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe can be set on Linux")
def test_a_process_ends_while_a_thread_of_ours_waits_natively(tmp_path: Path) -> None:
    """For a reader of our output that takes nothing: the thread is left, and Python is not taken apart around it."""
    import fcntl

    soundfile.write(tmp_path / "a.wav", np.zeros(16 * 16_000, np.float32), 16_000)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
    command = [sys.executable, "-X", "faulthandler", "-m", "apcodec_deploy.cli.main", "encode", "a.wav", "-o", "-"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        os.read(reading, 1)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert process.stderr.read() == b"stopped; finished files stay, and nothing is left half written\n"
    os.close(reading)
    os.close(writing)


def test_a_thread_that_has_not_begun_can_be_waited_for() -> None:
    """An interrupt may come while it is being started."""
    join_all([Worker(lambda: None, "never started")], 1)


def test_threads_that_are_left_are_known() -> None:
    release = threading.Event()
    worker = Worker(release.wait, "waits")
    before = any_left()
    worker.start()
    assert any_left()
    release.set()
    join_all([worker], 10)
    assert any_left() == before


def test_work_that_is_interrupted_has_ended_when_that_is_told(codec: Codec) -> None:
    """Its thread is waited for, so that nothing is freed under a native call."""
    computing = threading.Event()
    ended: list[float] = []

    def work(watch: Watch) -> None:
        try:
            while True:
                codec.encode(np.zeros(48_000, np.float32))
                computing.set()
                watch.heard(1.0)
        finally:
            ended.append(time.monotonic())

    def interrupt() -> None:
        computing.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def hear(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, hear)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            aside(work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(ended) == 1


CLOSED_IN_ANY_ORDER = """
import gc, os, signal, threading
import numpy as np
import apcodec_deploy

def used():
    codec = apcodec_deploy.load(backend="openvino", precision="float32", threads=1)
    codec.encode(np.zeros(5000, np.float32))
    return codec

def closed(codecs):
    codecs.pop(0).close()
    gc.collect()

heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
codecs = [used(), used(), used()]
closed(codecs)
closed(codecs)
other = threading.Thread(target=closed, args=(codecs,))
other.start()
other.join()
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM]
"""


def test_a_signal_is_heard_after_models_on_openvino_were_closed_in_any_order_and_thread(tmp_path: Path) -> None:
    """Each OpenVINO ``Core`` brings a stack for signal handlers, which must not be gone before its thread."""
    python(CLOSED_IN_ANY_ORDER, tmp_path)


STRESS = (
    CONTAINER
    + """
import os, random, signal, threading, time
import soundfile, torch
import tensorrt_rtx
import apcodec_deploy
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.transcoding.pipeline import open_pipeline

chance = random.Random(int(sys.argv[2]))
source = Path("in")
source.mkdir()
noise = (0.1 * np.random.default_rng(0).standard_normal(2 * 48000)).astype(np.float32)
for name, rate in (("a.wav", 48000), ("b.flac", 44100), ("c.ogg", 48000), ("d.mp3", 44100), ("e.wav", 16000)):
    soundfile.write(source / name, noise[: 2 * rate], rate)
write(source / "f.m4a")
torch.nn.functional.conv1d(torch.randn(1, 8, 9000), torch.randn(8, 8, 7))
builder = tensorrt_rtx.Builder(tensorrt_rtx.Logger())
codecs = [apcodec_deploy.load(backend=name, precision="float32", threads=2) for name in ("onnxruntime", "openvino")]

def hear(number, frame):
    raise KeyboardInterrupt

def fire(delay, again, over):
    for wait in (delay, again):
        time.sleep(wait)
        if over.is_set() or not wait:
            return
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, hear)
until, number, heard = time.monotonic() + float(sys.argv[1]), 0, 0
while time.monotonic() < until:
    number += 1
    form = chance.choice((None, "wav", "ogg", "flac"))
    options = ConversionOptions(form=AudioFormat.of(form) if form else None)
    tasks = plan_folder(source, Path(f"out{number}"), options.to)
    over, twice = threading.Event(), chance.random() < 0.2
    gun = threading.Thread(target=fire, args=(2 * chance.random() ** 2, 0.2 * chance.random() * twice, over))
    pipeline = None
    try:
        try:
            gun.start()
            if chance.random() < 0.3:
                name = chance.choice(("onnxruntime", "openvino"))
                pipeline = open_pipeline(None, BackendOptions(name=name, precision="float32"), files=6, jobs=3)
            codec = pipeline.codec if pipeline else chance.choice(codecs)
            run(codec, tasks, options, JobOptions(jobs=chance.randint(1, 4)))
        finally:
            over.set()
            if pipeline or chance.random() < 0.3:
                codec.close()
    except (KeyboardInterrupt, NameError):
        heard += 1
    while gun.is_alive():
        try:
            gun.join()
        except KeyboardInterrupt:
            pass
    assert twice or not list(Path(f"out{number}").rglob("*.part"))
assert heard, number
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["AVX2", "all"])
def test_interrupts_at_random_moments_after_every_backend(
    tmp_path: Path, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isa == "AVX2":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    python(STRESS, tmp_path, "8", str(time.time_ns() % 1000), seconds=300)
