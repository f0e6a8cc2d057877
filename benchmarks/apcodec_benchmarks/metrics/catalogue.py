"""The metrics as data, and their values for a pair of clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.metrics.perceptual import pesq, pesq_problem, stoi, stoi_problem
from apcodec_benchmarks.metrics.spectral import lsd, mel, mel_problem
from apcodec_benchmarks.metrics.visqol import problem as visqol_problem
from apcodec_benchmarks.metrics.visqol import visqol
from apcodec_benchmarks.metrics.waveform import si_sdr, snr
from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.errors import BenchmarkError


def _none() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One way to compare an original with what was decoded.

    Attributes:
        name: In results and commands.
        title: For people, with the unit where there is one.
        higher_is_better: Or lower.
        digits: To print after the point.
        about: What it is, in one line.
        notable: The change of a mean over files that somebody should be told of.
        function: Of original (N,), decoded (N,) and sample rate in Hz; None where it has no meaning.
        problem: Says why it cannot be computed on this machine; None if it can.
    """

    name: str
    title: str
    higher_is_better: bool
    digits: int
    about: str
    notable: float
    function: Callable[[NDArray[np.float32], NDArray[np.float32], int], float | None]
    problem: Callable[[], str | None] = _none


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="lsd",
            title="LSD",
            higher_is_better=False,
            digits=3,
            about="Log-spectral distance: STFT 2048/512, log10 of the power, rms over frequency, mean over time.",
            notable=0.01,
            function=lsd,
        ),
        Metric(
            name="mel",
            title="Mel distance",
            higher_is_better=False,
            digits=3,
            about="Mean absolute difference of log10 mel spectrograms: 80 bands, STFT 2048/512.",
            notable=0.01,
            function=mel,
            problem=mel_problem,
        ),
        Metric(
            name="si_sdr",
            title="SI-SDR, dB",
            higher_is_better=True,
            digits=1,
            about="Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019); vocoder-like codecs score low.",
            notable=0.2,
            function=si_sdr,
        ),
        Metric(
            name="snr",
            title="SNR, dB",
            higher_is_better=True,
            digits=1,
            about="Signal-to-noise ratio of the samples; vocoder-like codecs score low.",
            notable=0.2,
            function=snr,
        ),
        Metric(
            name="stoi",
            title="STOI",
            higher_is_better=True,
            digits=3,
            about="Short-time objective intelligibility (Taal et al., 2011); for speech.",
            notable=0.005,
            function=stoi,
            problem=stoi_problem,
        ),
        Metric(
            name="pesq",
            title="PESQ-WB, MOS",
            higher_is_better=True,
            digits=2,
            about="Perceptual evaluation of speech quality, wide band, at 16 kHz (ITU-T P.862.2); for speech.",
            notable=0.05,
            function=pesq,
            problem=pesq_problem,
        ),
        Metric(
            name="visqol",
            title="ViSQOL, MOS",
            higher_is_better=True,
            digits=2,
            about="ViSQOL in audio mode at 48 kHz (Hines et al., 2015; Chinen et al., 2020).",
            notable=0.05,
            function=visqol,
            problem=visqol_problem,
        ),
    )
}
"""By name, in the order in which they are shown."""


def available() -> dict[str, str | None]:
    """Say for each metric why it cannot be computed on this machine; None for one that can."""
    return {name: metric.problem() for name, metric in METRICS.items()}


def names_of(names: Iterable[str] | None) -> set[str]:
    """The names as a set; all there are where None.

    Raises:
        BenchmarkError: No such metric exists.
    """
    wanted = set(METRICS) if names is None else set(names)
    if unknown := sorted(wanted - set(METRICS)):
        raise BenchmarkError(f"no metric is called {', '.join(unknown)}; there are {', '.join(METRICS)}")
    return wanted


def measure(
    original: NDArray[np.float32],
    decoded: NDArray[np.float32],
    sample_rate: int,
    names: Iterable[str] | None = None,
) -> dict[str, float]:
    """Compare two clips of one sample rate.

    Args:
        original: Clip (N,).
        decoded: Clip (N,).
        sample_rate: Hz.
        names: Of the metrics wanted; all where None.

    Returns:
        Finite numbers by name, in the catalogue's order. A metric is absent where it has no meaning for these clips
        (each function says when) or cannot be computed here (``available`` says why); of empty clips all are.

    Raises:
        BenchmarkError: The clips are not mono, of different lengths, or not finite; or no such metric exists.
        AudioError: The sample rate is no whole number in the range that can be resampled.
    """
    wanted = names_of(names)
    rate = check_rate(sample_rate)
    reference, audio = _clip(original, "original"), _clip(decoded, "decoded")
    if len(reference) != len(audio):
        raise BenchmarkError(
            f"the original has {len(reference)} samples, the decoded clip {len(audio)}; trim both to one length"
        )
    values = {}
    for name, metric in METRICS.items():
        if name in wanted and len(reference):
            value = metric.function(reference, audio, rate)
            if value is not None and math.isfinite(value):
                values[name] = value
    return values


def _clip(clip: NDArray[Any], which: str) -> NDArray[np.float32]:
    """The clip as float32 (N,), checked."""
    if clip.ndim != 1 or clip.dtype.kind != "f":
        raise BenchmarkError(
            f"the {which} clip is {clip.dtype} of shape {clip.shape}; float32 of shape (N,) is expected, one channel"
        )
    with np.errstate(over="ignore"):
        clip = np.ascontiguousarray(clip, np.float32)
    if not np.isfinite(clip).all():
        raise BenchmarkError(f"the {which} clip holds values that are infinite or not a number; none can be judged")
    return clip
