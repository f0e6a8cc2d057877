"""Memory does not grow with the length of a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

PEAK = """
import resource, sys
from apcodec_deploy.cli.main import app
try:
    app()
except SystemExit as stop:
    assert not stop.code, stop.code
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(*arguments: object) -> int:
    """The largest memory of a command of its own process, in the unit of the platform."""
    command = [sys.executable, "-c", PEAK, *(str(argument) for argument in arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(answer.stdout.split("peak ")[-1])


@pytest.mark.slow
def test_peak_memory_is_that_of_a_short_file(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    pytest.importorskip("resource", reason="this platform does not tell a process its peak memory")
    peaks = {}
    for minutes in (0.5, 4):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
            for _ in range(int(9 * minutes)):
                file.write(speech)
        peaks[minutes] = (
            peak("encode", path),
            peak("decode", f"{path}.apc", "-o", tmp_path / "decoded.wav", "--overwrite"),
        )
    for short, long in zip(peaks[0.5], peaks[4], strict=True):
        assert long < 1.07 * short  # of some 250 MB; the rest of the audio takes 40 MB as float32, 20 as 16 bits
