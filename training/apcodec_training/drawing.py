"""Which recording each segment of a run is of: a function of the seed and the segment's number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import TrainingError
from apcodec_training.material import Recording

_ORDER, _FOLDER = 2, 5
"""Tell the draws of one seed from each other."""


class Draw:
    """The recording of every segment, by number.

    Without shares, an epoch goes through all draws of all recordings once, in an order of its own. With shares, each
    segment's folder is drawn at random, and a recording of it by its draws.
    """

    def __init__(self, recordings: Sequence[Recording], shares: Mapping[str, float], seed: int) -> None:
        """Sort recordings by folder.

        Args:
            recordings: All of them.
            shares: Of the folders right below the material's, by name, in any unit; empty for none.
            seed: Of the run.

        Raises:
            TrainingError: A folder with a share holds nothing.
        """
        self.seed = seed
        self._drawn = np.repeat(np.arange(len(recordings)), [each.draws for each in recordings])
        folders = np.array([each.folder for each in recordings])[self._drawn]
        self._by_folder = [self._drawn[folders == name] for name, share in shares.items() if share]
        if empty := [name for name, share in shares.items() if share and name not in folders]:
            raise TrainingError(
                f"data.shares names {', '.join(empty)}, which hold no audio to train on; the folders there are "
                f"{', '.join(sorted(set(folders.tolist()))) or 'none'}"
            )
        given = np.array([share for share in shares.values() if share], np.float64)
        self._shares = given / given.sum() if len(given) else given

    @property
    def per_epoch(self) -> int:
        """Segments of an epoch."""
        return len(self._drawn)

    def __getitem__(self, number: int) -> int:
        """The index of a segment's recording."""
        if not self._by_folder:
            epoch, place = divmod(number, self.per_epoch)
            return int(self._drawn[_order(self.seed, epoch, self.per_epoch)[place]])
        random = np.random.default_rng((self.seed, _FOLDER, number))
        drawn = self._by_folder[int(random.choice(len(self._by_folder), p=self._shares))]
        return int(drawn[int(random.integers(len(drawn)))])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """In which order an epoch goes through its segments."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(size)
