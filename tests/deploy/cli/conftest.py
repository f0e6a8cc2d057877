"""What tests of commands share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray


@pytest.fixture
def clip(tmp_path: Path, speech: NDArray[np.float32]) -> Path:
    """Half a second of speech on disk."""
    soundfile.write(tmp_path / "a.flac", speech[40_000:64_123], 48_000)
    return tmp_path / "a.flac"
