"""ViSQOL through executables that take and say what the real ones do, and fail as they do."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_benchmarks.metrics import visqol as module
from apcodec_benchmarks.metrics.visqol import problem, visqol

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts")

READ = """
import array, os, sys, wave

def samples(path):
    with wave.open(path) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (48000, 1, 2):
            fail("Error executing ViSQOL: INVALID_ARGUMENT: Expected 16bit samples at 48k.", 0)
        return array.array("h", file.readframes(file.getnframes()))

def fail(text, code):
    print(text, file=sys.stderr)
    sys.exit(code)

def score(reference, degraded):  # higher for a smaller difference; no score for less than half a second
    one, other = samples(reference), samples(degraded)
    if len(one) != len(other) or len(one) < 24000:
        fail("Error executing ViSQOL: CANCELLED: Reference signal is too short.", 0)
    difference = sum(abs(a - b) for a, b in zip(one, other)) / len(one)
    return 1 + 3.73189 / (1 + difference / 100)
"""
GOOGLE = """
arguments = {"--reference_file": "", "--degraded_file": "", "--similarity_to_quality_model": ""}
given = sys.argv[1:]
for name, value in zip(given[::2], given[1::2]):
    if name not in arguments:
        fail(f"ERROR: Unknown command line flag '{name[2:]}'", 1)
    arguments[name] = value
model = arguments["--similarity_to_quality_model"] or os.path.join(os.getcwd(), "model", "libsvm_nu_svr_model.txt")
if not os.path.isfile(model):
    fail(f"INVALID_ARGUMENT: Failed to load the default SVR model {model}.", 255)
print("ViSQOL conformance version: 330\\nAudio mode")
print(f"MOS-LQO:\\t\\t{score(arguments['--reference_file'], arguments['--degraded_file']):.6g}")
"""
PYTHON = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--reference", "-r", required=True)
parser.add_argument("--degraded", "-d", required=True)
arguments = parser.parse_args()
print(f"MOS-LQO:      {score(arguments.reference, arguments.degraded):.6f}\\nVNSIM:        0.990000")
"""


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, while the working directory and the running Python's lie elsewhere."""
    folder = tmp_path / "sources" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python"))
    monkeypatch.chdir(tmp_path)
    return folder


def install(folder: Path, *texts: str, interpreter: str = os.path.realpath(sys.executable)) -> Path:
    executable = folder / "visqol"
    executable.parent.mkdir(exist_ok=True)
    executable.write_text("\n".join([f"#!{interpreter}", *texts]))
    executable.chmod(0o755)
    return executable


def model(folder: Path) -> None:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "libsvm_nu_svr_model.txt").write_text("svm_type nu_svr\n")


def noisy(clip: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    return clip + np.float32(level) * np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)


@pytest.mark.parametrize("kind", [GOOGLE, PYTHON], ids=["google", "python"])
def test_either_executable_scores_clips(kind: str, only: Path, speech: NDArray[np.float32]) -> None:
    install(only, READ, kind)
    model(only.parent)  # as beside a build in the sources
    clip = speech[: 2 * 48_000]
    assert problem() is None
    assert visqol(clip, clip, 48_000) == pytest.approx(4.73189)
    few, many = visqol(clip, noisy(clip, 0.01), 48_000), visqol(clip, noisy(clip, 0.1), 48_000)
    assert few is not None and many is not None and 1 < many < few < 4.7
    assert visqol(clip[::3], clip[::3], 16_000) == pytest.approx(4.73189)  # which has seen 48 kHz
    assert visqol(3 * clip, 3 * clip, 48_000) == pytest.approx(4.73189)


def test_clips_above_full_scale_are_scaled_alike_and_not_cut(only: Path, speech: NDArray[np.float32]) -> None:
    install(only, READ, PYTHON)
    clip = speech[: 48_000 * 2] / np.abs(speech[: 48_000 * 2]).max()
    louder = visqol(clip, 4 * clip, 48_000)
    # At a quarter of full scale the mean difference is 3/4 of the original's mean.
    difference = 0.75 * np.abs(clip).mean() * 32768
    assert louder == pytest.approx(1 + 3.73189 / (1 + difference / 100), rel=0.01)


def test_the_model_is_found_from_a_link(only: Path, tmp_path: Path) -> None:
    built = install(tmp_path / "build", READ, GOOGLE)
    model(Path(f"{built}.runfiles") / "__main__")
    (only / "visqol").symlink_to(built)
    assert problem() is None


def test_it_is_found_beside_the_running_python(only: Path) -> None:
    install(Path(sys.executable).parent, READ, PYTHON)
    assert problem() is None


def test_none_at_all_is_said(only: Path, speech: NDArray[np.float32]) -> None:
    assert "no executable called visqol in PATH" in (problem() or "")
    assert visqol(speech, speech, 48_000) is None


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ((READ, GOOGLE), "Failed to load the default SVR model"),
        (("raise SystemExit(3)",), "it said nothing"),
        (("print('MOS-LQO:\\t\\tnan')",), "nan"),
        (("import os; os.write(1, bytes([255, 10]))",), "\N{REPLACEMENT CHARACTER}"),
    ],
    ids=["no model", "silent", "nan", "garbage"],
)
def test_one_that_does_not_work_is_said_with_its_last_words(
    texts: tuple[str, ...], reason: str, only: Path, speech: NDArray[np.float32]
) -> None:
    executable = install(only, *texts)
    said = problem() or ""
    assert str(executable) in said and reason in said
    assert visqol(speech, speech, 48_000) is None


def test_one_that_cannot_start_is_said(only: Path) -> None:
    install(only, "", interpreter="/nowhere/interpreter")
    assert "No such file" in (problem() or "")


def test_one_that_hangs_is_ended_with_its_children(only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child"
    install(only, f"/bin/sleep 60 & echo $! > {child}; wait", interpreter="/bin/sh")
    monkeypatch.setattr(module, "TRIAL_TIMEOUT", 0.5)
    begun = time.monotonic()
    assert "no answer within" in (problem() or "")
    assert time.monotonic() - begun < 10
    number = int(child.read_text())
    status = Path(f"/proc/{number}/stat")
    assert not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"  # gone, or not yet reaped


def test_a_clip_that_it_refuses_has_no_score(only: Path, speech: NDArray[np.float32]) -> None:
    install(only, READ, PYTHON)
    assert visqol(speech[:20_000], speech[:20_000], 48_000) is None
    assert visqol(speech, np.zeros_like(speech), 48_000) is None
    assert visqol(speech[:0], speech[:0], 48_000) is None
    assert problem() is None
