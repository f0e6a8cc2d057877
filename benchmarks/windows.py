"""Window length against quality and speed: the sweep behind a model's default window.

Quality is measured on the round trip of real audio: log-spectral distance to the original (2048/512, lower is better),
and the share of codes that equal those of coding the clip whole.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy.audio.resampling import resample

WINDOWS = (1 / 6, 1 / 3, 2 / 3, 4 / 3, 8 / 3, 16 / 3, 32 / 3, "whole")


def log_spectral_distance(reference: NDArray[np.float32], audio: NDArray[np.float32]) -> float:
    """Root mean square over frequency, mean over time, of the difference of log10 power spectra."""

    def spectrum(signal: NDArray[np.float32]) -> NDArray[np.float64]:
        frames = np.lib.stride_tricks.sliding_window_view(signal, 2048)[::512] * np.hanning(2049)[:-1]
        return np.asarray(np.log10(np.maximum(np.abs(np.fft.rfft(frames)) ** 2, 1e-8)))

    difference = spectrum(reference) - spectrum(audio)
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path, help="a folder of clips")
    parser.add_argument("--model", type=Path, help="a bundle; else the embedded one")
    parser.add_argument("--seconds", type=float, default=30.0, help="of audio, all clips joined and repeated to that")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    codec = apcodec_deploy.load(arguments.model)
    clips = []
    for path in sorted(arguments.audio.iterdir()):
        if path.suffix in (".wav", ".flac", ".ogg"):
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
            mono = np.ascontiguousarray(audio.mean(axis=1)[None])
            clips.append(np.concatenate(list(resample([mono], rate, codec.sample_rate)), axis=1)[0])
    audio = np.resize(np.concatenate(clips), int(arguments.seconds * codec.sample_rate))
    whole = codec.encode(audio, window="whole")
    times: dict[float | str, list[float]] = {window: [] for window in WINDOWS}
    rows: dict[float | str, str] = {}
    for _ in range(arguments.rounds):
        for window in WINDOWS:
            begun = time.perf_counter()
            encoded = codec.encode(audio, window=window)
            decoded = codec.decode(encoded)
            times[window].append((time.perf_counter() - begun) / arguments.seconds)
            equal = (encoded.codes == whole.codes).mean()
            rows[window] = f"{100 * equal:>11.1f} % | {log_spectral_distance(audio, decoded):>5.3f}"
    print(f"| window, s | equal codes   | LSD   | RTF median |\n|{'-' * 11}|{'-' * 15}|{'-' * 7}|{'-' * 12}|")
    for window, row in rows.items():
        label = window if isinstance(window, str) else f"{window:.2f}"
        print(f"| {label:>9} | {row} | {statistics.median(times[window]):>10.3f} |")


if __name__ == "__main__":
    main()
