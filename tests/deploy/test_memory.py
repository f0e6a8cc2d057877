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
from pathlib import Path
from apcodec_deploy.cli.main import app
try:
    app()
except SystemExit as stop:
    assert not stop.code, stop.code
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("peak", peak.split()[1])
"""


def peak(*arguments: object) -> int:
    """The largest memory of a command of its own process, kB; ``ru_maxrss`` would begin with that of these tests."""
    command = [sys.executable, "-c", PEAK, *(str(argument) for argument in arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(answer.stdout.split("peak ")[-1])


@pytest.mark.slow
def test_peak_memory_is_that_of_a_short_file(tmp_path: Path, speech: NDArray[np.float32], grn_bundle: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process its peak memory so")
    peaks = {}
    for minutes in (0.25, 1.75):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
            for _ in range(int(9 * minutes)):
                file.write(speech)
        peaks[minutes] = (
            peak("encode", path, "--model", grn_bundle),
            peak("decode", f"{path}.apc", "-o", tmp_path / "decoded.wav", "--overwrite", "--model", grn_bundle),
        )
    for short, long in zip(peaks[0.25], peaks[1.75], strict=True):
        assert long - short < 6_000  # kB; the rest of the audio takes 17 MB as float32, 8 as 16 bits
