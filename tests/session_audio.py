"""Audio for live sessions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def noise(channels: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """White noise (C, n), a fifth of full scale by its root mean square."""
    return (np.random.default_rng(seed).standard_normal((channels, samples)) * 0.2).astype(np.float32)
