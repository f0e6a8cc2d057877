"""STOI beside an implementation of the paper; PESQ by what it must say of clips whose order is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from apcodec_benchmarks.metrics.perceptual import pesq, pesq_problem, stoi, stoi_problem

HANN = np.hanning(258)[1:-1]


def taal_stoi(original: NDArray[np.float64], decoded: NDArray[np.float64]) -> float:
    """STOI of clips at 10 kHz, step by step as in Taal et al. 2011, section II."""
    # Frames whose energy is 40 dB or more below the loudest one's go; the others are put together again. The frame that
    # would end with the very last sample is never taken, as in the authors' own program.
    starts = range(0, len(original) - 256, 128)
    energies = [20 * np.log10(np.linalg.norm(HANN * original[start : start + 256]) + 1e-16) for start in starts]
    kept = [start for start, energy in zip(starts, energies, strict=True) if energy > max(energies) - 40]
    bands = []
    for clip in (original, decoded):
        joined = np.zeros(128 * len(kept) + 128)
        for place, start in enumerate(kept):
            joined[128 * place : 128 * place + 256] += HANN * clip[start : start + 256]
        power = [
            np.abs(np.fft.rfft(HANN * joined[start : start + 256], 512)) ** 2
            for start in range(0, len(joined) - 256, 128)
        ]
        rows = []
        for band in range(15):
            centre = 150 * 2 ** (band / 3)
            low, high = (round(centre * 2 ** (side / 6) / (10_000 / 512)) for side in (-1, 1))
            rows.append([np.sqrt(frame[low:high].sum()) for frame in power])
        bands.append(np.array(rows))
    scores = []
    for end in range(30, bands[0].shape[1] + 1):
        for band in range(15):
            clean, processed = bands[0][band, end - 30 : end], bands[1][band, end - 30 : end]
            scaled = processed * np.sqrt(np.sum(clean**2) / np.sum(processed**2))
            clipped = np.minimum(scaled, clean * (1 + 10 ** (15 / 20)))
            scores.append(np.corrcoef(clean, clipped)[0, 1])
    return float(np.mean(scores))


def resampled(clip: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    return np.asarray(soxr.resample(clip, rate, to), np.float32)


def test_stoi_is_that_of_the_paper(pair: Any) -> None:
    original, decoded = (resampled(clip, pair.rate, 10_000) for clip in (pair.original, pair.decoded))
    expected = taal_stoi(original.astype(np.float64), decoded.astype(np.float64))
    assert stoi(original, decoded, 10_000) == pytest.approx(expected, abs=1e-9)


def test_stoi_of_another_rate_is_that_of_the_clips_resampled(speech: NDArray[np.float32]) -> None:
    decoded = speech + np.float32(0.02) * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    low = [resampled(clip, 48_000, 10_000) for clip in (speech, decoded)]
    assert stoi(speech, decoded, 48_000) == pytest.approx(stoi(*low, 10_000), abs=0.01)


def test_too_little_speech_has_no_stoi(speech: NDArray[np.float32]) -> None:
    loudest = int(np.argmax(np.abs(speech)))
    word = speech[loudest - 9_000 : loudest + 9_000]  # 375 ms
    assert stoi(word, word, 48_000) is None
    alone = np.concatenate([word[6_000:12_000], np.zeros(96_000, np.float32)])
    assert stoi(alone, alone, 48_000) is None  # long enough, but for the most part silent
    assert stoi(np.zeros_like(speech), speech, 48_000) is None
    assert stoi(speech, np.zeros_like(speech), 48_000) == pytest.approx(0, abs=1e-6)


def test_stoi_is_absent_without_pystoi(speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystoi", None)
    assert "pip install 'apcodec-deploy[bench]'" in (stoi_problem() or "")
    assert stoi(speech, speech, 48_000) is None


def test_pesq_is_absent_without_its_package(speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert "pip install pesq" in (pesq_problem() or "")
    assert pesq(speech, speech, 48_000) is None


def test_pesq_is_that_of_the_clips_at_16_khz(speech: NDArray[np.float32]) -> None:
    package = pytest.importorskip("pesq")
    signal = pytest.importorskip("scipy.signal")
    decoded = speech + np.float32(0.01) * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    expected = package.pesq(16_000, *(signal.resample_poly(clip, 1, 3) for clip in (speech, decoded)), "wb")
    assert pesq(speech, decoded, 48_000) == pytest.approx(expected, abs=0.05)
    assert pesq(speech * np.float32(1e30), decoded * np.float32(1e30), 48_000) == pytest.approx(expected, abs=0.05)


def test_pesq_knows_more_than_50_utterances() -> None:
    package = pytest.importorskip("pesq")
    random = np.random.default_rng(0)
    word, pause = 4800, np.zeros(4800)
    original = np.concatenate([np.concatenate([random.standard_normal(word), pause]) for _ in range(60)])
    decoded = original + 0.01 * random.standard_normal(len(original))
    clips = original.astype(np.float32), decoded.astype(np.float32)  # 36 s: the package itself dies of them
    halves = [
        package.pesq(16_000, *(clip[part] for clip in clips), "wb") for part in (np.s_[:288_000], np.s_[288_000:])
    ]
    assert pesq(*clips, 16_000) == pytest.approx(sum(halves) / 2, abs=1e-3)


def test_pesq_is_absent_where_it_has_no_meaning(examples: Path, speech: NDArray[np.float32]) -> None:
    pytest.importorskip("pesq")
    silence = np.zeros_like(speech)
    assert pesq(speech, speech, 15_999) is None
    assert pesq(speech[:11_000], speech[:11_000], 48_000) is None  # below 1/4 s
    assert pesq(silence, speech, 48_000) is None
    assert pesq(speech, silence, 48_000) is None
    german, rate = soundfile.read(examples / "speech_german_22k.wav", dtype="float32")
    pause = np.zeros(40 * rate, np.float32)
    assert pesq(np.concatenate([german, pause]), np.concatenate([german, pause]), rate) == pytest.approx(4.64, abs=0.01)
    lost = np.concatenate([0 * german, pause[: 25 * rate], german])
    assert pesq(np.concatenate([german, pause[: 25 * rate], german]), lost, rate) is None  # its first half is gone
