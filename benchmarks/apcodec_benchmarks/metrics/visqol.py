"""ViSQOL, a model of a listener of any audio, where an executable called ``visqol`` is installed.

Two are known: that of github.com/google/visqol, and that of the package visqol-python, which has other options. Which
one it is, and whether it works, a trial shows. Google's Python binding is not used: whoever can build it can build the
executable, and a process of its own can be ended when it hangs.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resample

RATE = 48_000
MODEL = Path("model", "libsvm_nu_svr_model.txt")
"""Google's executable looks for it in the working directory unless it is told."""
TRIAL_SAMPLES = 2 * RATE
TRIAL_TIMEOUT = 120.0
_GOOGLE = ("--reference_file", "--degraded_file")
_PYTHON = ("--reference", "--degraded")
_SCORE = re.compile(r"^MOS-LQO:\s+(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*$", re.MULTILINE)


def visqol(original: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> float | None:
    """Compute ViSQOL in audio mode.

    Chinen et al.: ViSQOL v3: An Open Source Production Ready Objective Speech and Audio Metric, QoMEX 2020. Both clips
    are resampled to 48 kHz by soxr and handed over as 16-bit WAV, scaled alike where a peak is above full scale. ViSQOL
    is made for clips of 3 to 10 s without much silence.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz.

    Returns:
        MOS-LQO, from 1 to about 4.75, which is best. None where either clip is empty or silent, ViSQOL gave no score or
        took longer than a minute and ten times the clip, or ``problem`` says why there is none here.
    """
    if not original.any() or not decoded.any() or (executable := _executable()) is None:
        return None
    command, _ = _command(executable)
    if command is None:
        return None
    score, _ = _run(command, original, decoded, sample_rate, timeout=60 + 10 * len(original) / sample_rate)
    return score


def problem() -> str | None:
    """Say why there is no ViSQOL here; None if there is. The first call tries it on two seconds of noise."""
    if (executable := _executable()) is None:
        return (
            "no executable called visqol in PATH; build one (https://github.com/google/visqol) "
            "or install one with: pip install visqol-python"
        )
    return _command(executable)[1]


def _executable() -> str | None:
    """In PATH, or beside the running Python, whose environment need not be activated."""
    return shutil.which("visqol") or shutil.which("visqol", path=str(Path(sys.executable).parent))


@functools.cache
def _command(executable: str) -> tuple[tuple[str, ...] | None, str | None]:
    """How it is called, up to the two options that name files, which come last; or why it does not work."""
    model = _model(Path(executable))
    google = (executable, *(("--similarity_to_quality_model", str(model)) if model else ()), *_GOOGLE)
    noise = (0.1 * np.random.default_rng(0).standard_normal(TRIAL_SAMPLES)).astype(np.float32)
    said = []
    for command in (google, (executable, *_PYTHON)):
        score, output = _run(command, noise, noise, RATE, timeout=TRIAL_TIMEOUT)
        if score is not None:
            return command, None
        said.append(f"{command[-2]}: {output}")
    return None, f"{executable} gave no score in a trial ({'; '.join(said)}); see that it works by itself"


def _model(executable: Path) -> Path | None:
    """Google's model for audio, in the build or the sources that the executable belongs to."""
    for path in (executable, executable.resolve()):
        places = (path.with_name(f"{path.name}.runfiles") / "__main__", *path.parents)
        for place in places:
            if (place / MODEL).is_file():
                return (place / MODEL).absolute()
    return None


def _run(
    command: Sequence[str],
    original: NDArray[np.float32],
    decoded: NDArray[np.float32],
    sample_rate: int,
    *,
    timeout: float,
) -> tuple[float | None, str]:
    """Run it on two clips; its score, if any, and the last line of what it said."""
    import soundfile

    *start, reference_option, degraded_option = command
    peak = max(1.0, float(np.abs(original).max()), float(np.abs(decoded).max()))
    with tempfile.TemporaryDirectory(prefix="apcodec-visqol-") as folder:
        files = Path(folder, "original.wav"), Path(folder, "decoded.wav")
        for file, clip in zip(files, (original, decoded), strict=True):
            blocks = list(resample([clip[None] / np.float32(peak)], sample_rate, RATE))
            soundfile.write(file, np.concatenate(blocks, axis=1)[0], RATE, subtype="PCM_16")
        arguments = [*start, reference_option, str(files[0]), degraded_option, str(files[1])]
        output, ended = _output(arguments, Path(folder, "output"), timeout)
    if not ended:
        return None, f"no answer within {timeout:.0f} s"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = _SCORE.search(output)
    return float(found[1]) if found else None, lines[-1] if lines else "it said nothing"


def _output(arguments: Sequence[str], file: Path, timeout: float) -> tuple[str, bool]:
    """What a command says, and whether it ended in time; if not, it is killed with all that it started."""
    # Into a file: a pipe would stay open, and reading it wait, for as long as a wrapper's child lives.
    with file.open("wb") as output:
        try:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            return str(error), True
        try:
            process.wait(timeout)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            if process.poll() is None:
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                process.wait()
    return file.read_text(encoding="utf-8", errors="replace"), ended
