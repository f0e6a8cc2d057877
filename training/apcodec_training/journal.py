"""What a run tells: lines of CSV for plots and comparisons, and TensorBoard for looking and listening."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.files import written_whole


class Table:
    """A CSV file of one line a step, which a resumed run goes on with after the step it resumes at."""

    def __init__(self, path: Path, columns: Sequence[str], *, after: int) -> None:
        """Open a table.

        Args:
            path: The file.
            columns: Behind ``step``; those of a table that is there are kept.
            after: Lines of later steps are removed.
        """
        self.path, self.columns = path, ["step", *columns]
        kept = []
        if after and path.exists():
            # A kill may have cut the last line, which then lacks its end.
            lines = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
            kept = [line for line in csv.DictReader(lines) if int(line["step"]) <= after]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        with written_whole(path, overwrite=True) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line; the file is whole after each."""
        line = [str(step)] + [f"{values[name]:.9g}" if name in values else "" for name in self.columns[1:]]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(line) + "\n")


class Means:
    """Means of numbers over the steps since they were last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Note the numbers of a step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, and begin anew."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """What has been noted, to go on from."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what was noted."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])


class Board:
    """TensorBoard's side: numbers, spectrograms and sound."""

    def __init__(self, folder: Path, sample_rate: int, *, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.sample_rate = sample_rate
        self._writer = SummaryWriter(str(folder), purge_step=after or None)

    def numbers(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves of a group."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def clip(self, name: str, original: NDArray[np.float32], decoded: NDArray[np.float32], step: int) -> None:
        """Sound of a validation clip, and the spectrograms of original and decoded one above the other."""
        self._writer.add_audio(f"{name}/decoded", decoded[None], step, self.sample_rate)
        self._writer.add_audio(f"{name}/original", original[None], step, self.sample_rate)
        picture = np.concatenate([_spectrogram(original), _spectrogram(decoded)], axis=0)
        self._writer.add_image(f"{name}/original above decoded", picture, step, dataformats="HW")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _spectrogram(audio: NDArray[np.float32], n_fft: int = 1024) -> NDArray[np.uint8]:
    """A grey picture of a clip, low notes below, 90 dB from black to white."""
    padded = np.pad(audio, (0, max(0, n_fft - len(audio))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 4]
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n_fft))) + 1e-7)
    top = level.max()
    grey = np.clip((level - top) / 90 + 1, 0, 1)
    return np.asarray(np.flipud(grey.T) * 255, np.uint8)
