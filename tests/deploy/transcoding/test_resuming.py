"""Jobs that are killed: called again they end as if nothing had happened, whenever it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec
from numpy.typing import NDArray

from apcodec_deploy import Codec
from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.transcoding import record
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import MANIFEST, Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.report import Outcome, Report

pytestmark = pytest.mark.usefixtures("every_cpu")

Audio = NDArray[np.float32]
JOB = ("transcode", "in", "out", "--to", "apc")
COMMAND = (sys.executable, "-m", "apcodec_deploy.cli.main", *JOB)
CODES = ConversionOptions(form=None)

DIES = """
import os, pathlib, runpy, sys

left = int(sys.argv.pop(1))

def dying(function):
    def call(*args, **kwargs):
        global left
        if (left := left - 1) == 0:
            os._exit(9)
        result = function(*args, **kwargs)
        if (left := left - 1) == 0:
            os._exit(9)
        return result
    return call

os.write, os.link, os.ftruncate = dying(os.write), dying(os.link), dying(os.ftruncate)
pathlib.Path.replace, pathlib.Path.unlink = dying(pathlib.Path.replace), dying(pathlib.Path.unlink)
runpy.run_module("apcodec_deploy.cli.main", run_name="__main__")
"""
"""A command that dies at the n-th of the moments before and after each change of the output folder's files."""


def corpus(folder: Path, speech: Audio, count: int, seconds: float = 1.0) -> None:
    """Files of one length and various rates."""
    folder.mkdir()
    size = int(48_000 * seconds)
    for index in range(count):
        start = 911 * index % (len(speech) - size)
        soundfile.write(folder / f"{index:04}.wav", speech[start : start + size], 48_000 if index % 3 else 44_100)


def results(folder: Path) -> dict[str, bytes]:
    """Every file of an output folder but the manifest; a file half written would be among them."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def times_done(folder: Path) -> Counter[str]:
    """How often the manifest says of each output that it was done."""
    lines = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    return Counter(line["output"] for line in lines if line["kind"] == "file" and line["error"] is None)


def undisturbed(root: Path) -> dict[str, bytes]:
    """What a run makes that nobody disturbs."""
    with chdir(root):
        assert apcodec("transcode", "in", "reference", "--to", "apc").exit_code == 0
    return results(root / "reference")


def killed_until_done(root: Path, kills: int) -> int:
    """Kill one job again and again at random moments, then let it end; how often it was killed at work."""
    chance = random.Random(0)
    at_work = 0
    for _ in range(kills):
        before = (root / "out" / MANIFEST).stat().st_size if (root / "out" / MANIFEST).exists() else 0
        process = subprocess.Popen(COMMAND, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < limit:
            manifest = root / "out" / MANIFEST
            if manifest.exists() and manifest.stat().st_size > before:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        at_work += process.wait() == -signal.SIGKILL
    subprocess.run(COMMAND, cwd=root, check=True, capture_output=True)
    return at_work


@pytest.mark.slow
def test_a_job_killed_at_random_ends_as_if_undisturbed(tmp_path: Path, speech: Audio) -> None:
    corpus(tmp_path / "in", speech, 80, seconds=0.5)
    assert killed_until_done(tmp_path, 6) >= 5
    assert results(tmp_path / "out") == undisturbed(tmp_path)
    assert times_done(tmp_path / "out") == {f"{index:04}.wav.apc": 1 for index in range(80)}


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_job_killed_at_any_change_of_a_file_ends_as_if_undisturbed(tmp_path: Path, speech: Audio, step: int) -> None:
    """At every fourth moment, and at every one in the slow part."""
    corpus(tmp_path / "in", speech, 2, seconds=0.1)
    expected = undisturbed(tmp_path)
    moment, died = 1 - step, True
    while died:
        moment += step
        for path in (tmp_path / "out").glob("*"):
            path.unlink()
        command = [sys.executable, "-c", DIES, str(moment), *JOB, "--jobs", "1"]
        died = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 9
        with chdir(tmp_path):
            assert apcodec(*JOB).exit_code == 0
        assert results(tmp_path / "out") == expected, moment
        assert set(times_done(tmp_path / "out").values()) == {1}, moment
    assert moment > 10


def job(codec: Codec, source: Path, out: Path, how: JobOptions | None = None) -> Report:
    settings = Settings(model=codec.fingerprint, backend="onnxruntime", precision="float32", to="apc")
    with Manifest.open(out, settings, fresh=False) as manifest:
        return run(
            codec, plan_folder(source, out, "apc"), CODES, how or JobOptions(skip_existing=True), manifest=manifest
        )


def test_what_others_put_there_is_left_alone(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    corpus(tmp_path / "in", speech, 3, seconds=0.1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0001.wav.apc").write_text("mine")
    for _ in range(2):
        report = job(codec, tmp_path / "in", tmp_path / "out")
        assert "the output exists" in [result.reason for result in report.of(Outcome.SKIPPED)]
    assert (tmp_path / "out" / "0001.wav.apc").read_text() == "mine"
    assert times_done(tmp_path / "out") == {"0000.wav.apc": 1, "0002.wav.apc": 1}


def test_a_source_that_changed_since_is_done_again(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    corpus(tmp_path / "in", speech, 2, seconds=0.1)
    job(codec, tmp_path / "in", tmp_path / "out")
    soundfile.write(tmp_path / "in" / "0001.wav", speech[:9000], 48_000)
    report = job(codec, tmp_path / "in", tmp_path / "out")
    assert [str(result.outcome) for result in report.results] == ["skipped", "done"]
    assert results(tmp_path / "out")["0001.wav.apc"] == undisturbed(tmp_path)["0001.wav.apc"]


def test_a_source_that_grows_while_it_is_read_fails_and_is_done_later(
    codec: Codec, tmp_path: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(tmp_path / "in", speech, 2, seconds=0.1)
    genuine = AudioReader.blocks

    def growing(reader: AudioReader, span: object) -> object:
        yield from genuine(reader)
        if reader.path.name == "0001.wav":
            with reader.path.open("ab") as file:
                file.write(b"note\4\0\0\0more")  # a chunk, as programs add behind the audio

    with monkeypatch.context() as patch:
        patch.setattr(AudioReader, "blocks", growing)
        report = job(codec, tmp_path / "in", tmp_path / "out")
    assert [str(result.outcome) for result in report.results] == ["done", "failed"]
    assert "changed while it was read" in str(report.results[1].reason)
    assert list(results(tmp_path / "out")) == ["0000.wav.apc"]
    assert job(codec, tmp_path / "in", tmp_path / "out").of(Outcome.DONE)


def test_a_reader_that_stalls_is_left_behind(
    codec: Codec, tmp_path: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(tmp_path / "in", speech, 6, seconds=0.1)
    release = threading.Event()
    genuine = AudioReader.blocks

    def stalling(reader: AudioReader, span: object) -> object:
        if reader.path.name == "0001.wav":
            release.wait(30)
        yield from genuine(reader)

    monkeypatch.setattr(AudioReader, "blocks", stalling)
    begun = time.monotonic()
    report = job(codec, tmp_path / "in", tmp_path / "out", JobOptions(jobs=2, patience=0.3))
    assert time.monotonic() - begun < 20
    assert [str(result.outcome) for result in report.results] == ["done", "failed", *["done"] * 4]
    assert "0001.wav gave nothing for 0.3 s" in str(report.results[1].reason)
    release.set()  # it wakes up after its time, and must not write
    time.sleep(0.5)
    assert sorted(results(tmp_path / "out")) == [f"000{index}.wav.apc" for index in (0, 2, 3, 4, 5)]


def test_a_full_disk_fails_the_files_and_loses_nothing(
    codec: Codec, tmp_path: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(tmp_path / "in", speech, 4, seconds=0.1)
    genuine = os.write
    with monkeypatch.context() as patch:

        def full(descriptor: int, data: bytes) -> int:
            if b"0002.wav" in data and b'"error": null' in data:
                raise OSError(28, "No space left on device")
            return genuine(descriptor, data)

        patch.setattr(os, "write", full)
        report = job(codec, tmp_path / "in", tmp_path / "out")
    assert [str(result.outcome) for result in report.results] == ["done", "done", "failed", "done"]
    assert "No space left" in str(report.results[2].reason)
    assert "0002.wav.apc" not in results(tmp_path / "out")
    assert [str(result.outcome) for result in job(codec, tmp_path / "in", tmp_path / "out").results].count("done") == 1
    assert results(tmp_path / "out") == undisturbed(tmp_path)


def test_a_source_is_hashed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    state = record.SourceState.of(tmp_path / "a")
    assert state.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert state.size == 3
