"""A program that closes a codec gets its memory back, and its system, too."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import numpy as np
import apcodec_deploy

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

audio = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * 48_000).astype(np.float32)
after = []
for _ in range(3):
    codec = apcodec_deploy.load(threads=2)
    codec.decode(codec.encode(audio))
    codec.close()
    del codec
    after.append(held())
print(*after)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")
def test_a_closed_codec_leaves_little_behind_however_often() -> None:
    answer = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    first, *_, last = (int(word) for word in answer.stdout.split())
    assert first < 200  # Python with what it has imported takes about 100; a window at work takes 300 more
    assert last < first + 40
