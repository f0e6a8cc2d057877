"""A process that is forked after it has used a model: its child codes as well, or says why not, and ends."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend, cuda
from apcodec_deploy.backends.shared import SharedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import Codec
from apcodec_deploy.errors import BackendError

pytestmark = pytest.mark.usefixtures("every_cpu")

BEGIN = """
import os, sys, threading
import numpy as np
import apcodec_deploy
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.transcoding.pipeline import open_pipeline

backend = sys.argv[1]
audio = (0.1 * np.sin(np.arange(4000) / 20)).astype(np.float32)
codec = apcodec_deploy.load(backend=backend, precision="float32", threads=1)

def used():
    return codec.encode(audio).codes

def tried():
    try:
        same = bool((used() == expected).all())
        codec.close()
        return "the same" if same else "another"
    except apcodec_deploy.ApcodecError as error:
        return "refused: " + str(error)
"""
FORK = """
child = os.fork()
if child == 0:
    what()
    sys.stdout.flush()
    sys.exit(0)  # as a server's child does: through the whole of the interpreter's end
status = os.waitpid(child, 0)[1]
print("child", os.waitstatus_to_exitcode(status), "parent", tried(), flush=True)
"""


def forked(backend: str, *parts: str) -> str:
    """What a process prints that runs these lines; it is given a minute."""
    command = [sys.executable, "-c", "\n".join((BEGIN, *parts)), backend]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_child_codes_or_refuses_and_ends(backend: str) -> None:
    """Children that use it, close it, or do nothing with it; and those of a process that has closed it before."""
    lines = ["expected = used()"]
    for what in ("print(tried())", "codec.close()", "None"):
        lines += [f"what = lambda: {what}", FORK, "expected = used()"]
    for what in ("print(tried())", "None"):
        lines += ["codec.close()", f"what = lambda: {what}", FORK]
    said = forked(backend, *lines).splitlines()
    ended = "child 0 parent the same"
    tried = said[0] if backend == "openvino" else "the same"
    assert said == [tried, ended, ended, ended, tried, ended, ended]
    if backend == "openvino":
        assert tried.startswith("refused: OpenVINO was used before this process was forked")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_model_that_was_loaded_and_not_used_may_be_forked(backend: str) -> None:
    """As servers do that load before they start their workers."""
    lines = "expected = None\nwhat = lambda: (globals().update(expected=used()), print(tried()))\n"
    fork = FORK.replace("tried(),", "bool(used().any()),")
    assert forked(backend, lines, fork) == "the same\nchild 0 parent True\n"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_fork_while_other_threads_use_the_model(backend: str) -> None:
    """Whatever a thread held when it was left behind must not be waited for."""
    lines = """
expected = used()
pipeline = open_pipeline(None, BackendOptions(name=backend, precision="float32"), files=9, jobs=2)
lanes = pipeline.codec
lanes.encode(audio)
ended = threading.Event()
def work():
    while not ended.is_set():
        used(), lanes.encode(audio)
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
def what():
    try:
        print(tried(), bool((lanes.encode(audio).codes == expected).all()))
    except apcodec_deploy.ApcodecError as error:
        print("refused:", error)
    lanes.close()
for _ in range(2):
"""
    fork = FORK.replace("parent", "of two").replace("tried(),", "")
    fork = "\n".join("    " + line for line in fork.strip().splitlines())
    after = "ended.set()\nfor worker in workers:\n    worker.join()\nlanes.close(); print(tried())"
    said = forked(backend, lines.rstrip() + "\n" + fork, after)
    assert said.count("child 0") == 2
    assert said.count("the same True" if backend == "onnxruntime" else "refused: OpenVINO") == 2
    assert said.endswith("the same\n")


def _codes(index: int) -> NDArray[np.int16]:
    return _held[0].encode(np.full(2000, 0.01 * index, np.float32)).codes


_held: list[Codec] = []


def test_a_pool_of_forked_processes() -> None:
    with apcodec_deploy.load(threads=2) as codec:
        _held[:] = [codec]
        expected = [_codes(index) for index in range(4)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map_async(_codes, range(4)).get(60)
        _held.clear()
    np.testing.assert_array_equal(found, expected)


def test_lanes_are_started_again() -> None:
    """Told of a fork, as in a child: no lane is there, and a lock is held by nobody who could give it back."""
    with apcodec_deploy.load(threads=1) as codec:
        shared = SharedBackend([codec.backend], lanes=2)
        audio = np.zeros((1, 2000), np.float32)
        expected = shared.encode(audio)
        _wait_for_idle_lanes(shared, 2)
        with shared._changed:
            shared.forked()
        np.testing.assert_array_equal(shared.encode(audio), expected)
        _wait_for_idle_lanes(shared, 2)
        shared.forked()
        shared.close()  # waits for no lane
        with pytest.raises(BackendError, match="closed"):
            shared.encode(audio)


def _wait_for_idle_lanes(shared: SharedBackend, count: int) -> None:
    """Until all lanes wait for work, as good as gone: one that is still at its books would find those of the child."""
    deadline = time.monotonic() + 20
    while len(shared._changed._waiters) < count:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_cuda_is_refused_in_a_child() -> None:
    backend = OnnxRuntimeBackend(Bundle.embedded(), placement=cuda())
    backend._sessions["stft"] = object()
    backend.forked()
    for _ in range(2):
        with pytest.raises(BackendError, match=r"CUDA was used before this process was forked.*'spawn'"):
            backend.encode(np.zeros((1, 2000), np.float32))
        backend.forked()
    backend.close()
