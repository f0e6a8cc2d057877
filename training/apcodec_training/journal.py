"""What a run tells: lines of CSV for plots and comparisons, and TensorBoard for looking and listening."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import OutputError
from apcodec_deploy.files import output_errors, written_whole
from apcodec_export.network import NetworkConfig
from apcodec_training.validation import METRICS, Heard

LOSSES = (
    *("total", "amplitude", "instantaneous_phase", "group_delay", "phase_time_difference", "stft_consistency"),
    *("real_l1", "imag_l1", "mel_l1", "mel_mse", "audio_amplitude", "unintelligibility", "incoherence"),
    *("log_spectral_distance", "codebook", "commitment"),
    *("period_adversarial", "period_features", "resolution_adversarial", "resolution_features"),
    *("distil_input", "distil_blocks", "distil_down", "distil_latent", "distil_up", "distil_heads"),
    *("period_discriminator", "resolution_discriminator", "gradient_norm", "learning_rate", "revived", "seconds"),
)
VALIDATION = (*METRICS, "codes_used", "score")


class Journal:
    """Everything that a run tells, in its folder."""

    def __init__(self, folder: Path, network: NetworkConfig, *, after: int) -> None:
        """Open the tables and the board.

        Args:
            folder: Of the run.
            network: What is trained.
            after: The step that the run goes on from; what was told of later ones is removed.
        """
        books = range(1, network.num_codebooks + 1)
        usage = [f"{name}_{book}" for name in ("usage", "perplexity") for book in books]
        self._losses = Table(folder / "losses.csv", [*LOSSES, *usage], after=after)
        self._validation = Table(folder / "validation.csv", VALIDATION, after=after)
        self._board = Board(folder / "logs", network.sample_rate, after=after)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()

    def losses(self, step: int, means: Mapping[str, float], usage: Mapping[str, Sequence[float]]) -> None:
        """Tell what an interval of steps gave.

        Args:
            step: Its last one.
            means: Of losses and other numbers, by name.
            usage: Numbers by codebook, by name.
        """
        by_book = {f"{name}_{book}": value for name, values in usage.items() for book, value in enumerate(values, 1)}
        values = {**means, **by_book}
        self._losses.add(step, values)
        self._board.numbers("training", values, step)

    def validation(self, step: int, values: Mapping[str, float], clips: Sequence[Heard]) -> None:
        """Tell how good the model is, and let some clips be heard."""
        self._validation.add(step, values)
        self._board.numbers("validation", values, step)
        for clip in clips:
            self._board.clip(clip.name, clip.original, clip.decoded, step)


class Table:
    """A CSV file of one line a step, which a resumed run goes on with after the step it resumes at."""

    def __init__(self, path: Path, columns: Sequence[str], *, after: int) -> None:
        """Open a table.

        Args:
            path: The file.
            columns: Behind ``step``.
            after: Lines of later steps are removed.
        """
        self.path, self.columns = path, ["step", *columns]
        kept = []
        if after and path.exists():
            with output_errors(path):
                text_before = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
            # A kill may have cut the last line, which then lacks its end.
            lines = [line for line in text_before.splitlines(True) if line.endswith("\n")]
            if lines and not lines[0].startswith("step,"):
                raise OutputError(f"{path} is no table of a run, and the run would replace it; move it away")
            kept = [line for line in csv.DictReader(lines) if line["step"].isdecimal() and int(line["step"]) <= after]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        with written_whole(path, overwrite=True) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line; the file is whole after each."""
        line = [str(step)] + [f"{values[name]:.9g}" if name in values else "" for name in self.columns[1:]]
        with output_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(line) + "\n")


class Board:
    """TensorBoard's side: numbers, spectrograms and sound."""

    def __init__(self, folder: Path, sample_rate: int, *, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.sample_rate = sample_rate
        with output_errors(folder):
            self._writer = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def numbers(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves of a group."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def clip(self, name: str, original: NDArray[np.float32], decoded: NDArray[np.float32], step: int) -> None:
        """Sound of a validation clip, and the spectrograms of original and decoded one above the other."""
        for which, audio in (("original", original), ("decoded", decoded)):
            self._writer.add_audio(f"{name}/{which}", audio[None].clip(-1, 1), step, self.sample_rate)
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
