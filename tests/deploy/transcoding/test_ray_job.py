"""A job on a local Ray against the same job without it, undisturbed and with an actor killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.manifest import MANIFEST

pytestmark = pytest.mark.slow  # Ray takes ten seconds to start, and all CPUs
COMMAND = (sys.executable, "-m", "apcodec_deploy.cli.main", "transcode", "in")
RAY = ("--to", "apc", "--executor", "ray", "--json")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, speech: NDArray[np.float32]) -> Path:
    """Forty files, one of them bad, and what a job without Ray makes of them."""
    root = tmp_path_factory.mktemp("ray")
    (root / "in" / "deep er").mkdir(parents=True)
    for index in range(39):
        path = root / "in" / ("deep er" if index % 5 == 0 else ".") / f"ü{index:02}.wav"
        soundfile.write(path, speech[3000 * index :][:48_000], 44_100 if index % 3 == 0 else 48_000)
    (root / "in" / "bad.wav").write_text("hello")
    subprocess.run([*COMMAND, "local", "--to", "apc"], cwd=root, check=False, capture_output=True)
    return root


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def actors(job: int) -> list[int]:
    """The processes of a job's actors that convert; other jobs of Ray may run beside it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and b"Transcoder" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [each for each in found if each != job and job in ancestors(each)]


def ancestors(process: int) -> list[int]:
    """The processes that one was started by, in turn."""
    found = []
    while process > 1:
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.append(process)
    return found


def test_ray_gives_the_bytes_of_a_job_without_it(root: Path) -> None:
    done = subprocess.run([*COMMAND, "ray", *RAY], cwd=root, check=False, capture_output=True, timeout=120)
    assert done.returncode == 1, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["done"], counts["failed"], counts["backend"]) == (39, 1, "onnxruntime")
    assert results(root / "ray") == results(root / "local")
    local, ray = (History.read(root / name / MANIFEST) for name in ("local", "ray"))
    assert ray.settings == local.settings
    for output, record in ray.done.items():
        assert (record.source, record.sha256) == (local.done[output].source, local.done[output].sha256)
    assert list(ray.failed) == ["in/bad.wav"]


def test_ray_runs_a_streamable_model(root: Path, streamable_bundle: Path) -> None:
    (root / "few.txt").write_text("ü01.wav\nü02.wav\nü03.wav\n")
    chosen = ("--model", str(streamable_bundle), "--files-from", "few.txt", "--json")
    for name, executor in (("streams", ()), ("streams-ray", ("--executor", "ray"))):
        command = [*COMMAND, name, "--to", "apc", *chosen, *executor]
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
        assert json.loads(done.stdout)["done"] == 3
    assert len(results(root / "streams")) == 3
    assert results(root / "streams-ray") == results(root / "streams")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for actors in /proc")
def test_an_actor_that_is_killed_loses_nothing(root: Path) -> None:
    command = [*COMMAND, "killed", *RAY]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        if list((root / "killed").glob("**/*.apc")) and (alive := actors(process.pid)):
            os.kill(alive[0], signal.SIGKILL)
            break
        time.sleep(0.01)
    else:
        pytest.fail("there was no actor to kill")
    stdout, stderr = process.communicate(timeout=120)
    assert json.loads(stdout)["done"] == 39, stderr
    assert results(root / "killed") == results(root / "local")
    assert len(History.read(root / "killed" / MANIFEST).done) == 39


def test_a_job_of_ray_is_gone_on_with_without_it(root: Path) -> None:
    """And what only one of the two can do is refused by the other."""
    out = root / "mixed"
    (root / "list.txt").write_text("ü01.wav\nü02.wav\n")
    first = [*COMMAND, "mixed", *RAY, "--files-from", "list.txt"]
    assert json.loads(subprocess.run(first, cwd=root, check=True, capture_output=True).stdout)["done"] == 2
    rest = subprocess.run([*COMMAND, "mixed", "--to", "apc", "--json"], cwd=root, check=False, capture_output=True)
    assert (json.loads(rest.stdout)["skipped"], json.loads(rest.stdout)["done"]) == (2, 37)
    assert results(out) == results(root / "local")
    for option in (("--stats",), ("--batch", "2"), ("--device", "cuda:1")):
        refused = subprocess.run([*COMMAND, "mixed", *RAY, *option], cwd=root, check=False, capture_output=True)
        assert refused.returncode == 1 and b"--executor" in refused.stderr


def test_a_job_of_ray_ends_as_any_other_when_it_is_told_to(root: Path) -> None:
    process = subprocess.Popen([*COMMAND, "ended", *RAY], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not actors(process.pid):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"nothing is left half written" in said
