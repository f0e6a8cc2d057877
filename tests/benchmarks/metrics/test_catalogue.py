"""The catalogue: what it says of each metric is true, and no clip breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_benchmarks.metrics import catalogue
from apcodec_benchmarks.metrics.catalogue import METRICS, available, measure
from apcodec_deploy.errors import ApcodecError, BenchmarkError

OURS = [name for name in METRICS if name != "visqol"]  # a real one, where there is one, takes seconds
SOUNDS = {
    "silence": lambda n: np.zeros(n),
    "constant": lambda n: np.full(n, 0.3),
    "noise": lambda n: np.random.default_rng(0).standard_normal(n),
    "impulse": lambda n: np.arange(n) == n // 2,
    "tiny": lambda n: 1e-44 * np.sign(np.random.default_rng(1).standard_normal(n)),
    "huge": lambda n: 3e38 * np.sign(np.random.default_rng(2).standard_normal(n)),
    "half": lambda n: np.random.default_rng(3).standard_normal(n) * (np.arange(n) < n / 2),
}


def sound(name: str, samples: int) -> NDArray[np.float32]:
    return np.asarray(SOUNDS[name](samples), np.float32)


@pytest.mark.parametrize("name", OURS)
def test_more_noise_is_worse_and_a_copy_is_best(name: str, speech: NDArray[np.float32]) -> None:
    metric = METRICS[name]
    if (problem := metric.problem()) is not None:
        pytest.skip(problem)
    clip = speech[: 3 * 48_000]
    noise = np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)
    levels = (0, 0.001, 0.01, 0.1)
    values = [measure(clip, clip + np.float32(level) * noise, 48_000, [name])[name] for level in levels]
    assert values == sorted(values, reverse=metric.higher_is_better)
    assert len(set(values)) == len(values)


@settings(max_examples=60)
@given(
    original=st.sampled_from(sorted(SOUNDS)),
    decoded=st.sampled_from(sorted(SOUNDS)),
    samples=st.one_of(st.integers(0, 3), st.integers(0, 20_000)),
    rate=st.sampled_from([1_000, 8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 384_000]),
)
def test_whatever_the_clips_values_are_finite(original: str, decoded: str, samples: int, rate: int) -> None:
    values = measure(sound(original, samples), sound(decoded, samples), rate, OURS)
    json.dumps(values, allow_nan=False)
    assert all(type(value) is float for value in values.values())
    assert list(values) == [name for name in METRICS if name in values]
    assert bool(values) == bool(samples)


@pytest.mark.parametrize(
    ("original", "decoded", "reason"),
    [
        (np.zeros(10, np.float32), np.zeros(11, np.float32), "10 samples, the decoded clip 11"),
        (np.zeros((1, 10), np.float32), np.zeros(10, np.float32), "original clip is float32 of shape"),
        (np.zeros(10, np.float32), np.zeros(10, np.int16), "decoded clip is int16"),
        (np.zeros(10, np.float32), np.array([0] * 9 + [np.nan], np.float32), "decoded clip holds values"),
        (np.array([np.inf, 0], np.float32), np.zeros(2, np.float32), "original clip holds values"),
        (np.array([1e300, 0]), np.zeros(2), "original clip holds values"),
    ],
)
def test_clips_that_cannot_be_compared_are_an_error(original: NDArray[Any], decoded: NDArray[Any], reason: str) -> None:
    with pytest.raises(BenchmarkError, match=reason):
        measure(original, decoded, 48_000)


def test_unknown_names_and_rates_are_an_error() -> None:
    clip = np.ones(10, np.float32)
    with pytest.raises(BenchmarkError, match="no metric is called loudness; there are lsd"):
        measure(clip, clip, 48_000, ["lsd", "loudness"])
    with pytest.raises(ApcodecError, match="0 Hz"):
        measure(clip, clip, 0)


def test_only_what_is_wanted_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    assert list(measure(clip, clip, 48_000, ["snr", "lsd"])) == ["lsd", "snr"]
    assert measure(clip, clip, 48_000, []) == {}


def test_what_cannot_run_here_is_said_and_absent(speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pesq", "transformers.audio_utils"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    problems = available()
    assert list(problems) == list(METRICS)
    assert {name for name, problem in problems.items() if problem} == {"mel", "pesq", "visqol"}
    assert list(measure(speech[:48_000], speech[:48_000], 48_000)) == ["lsd", "si_sdr", "snr", "stoi"]


def test_importing_the_catalogue_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "pystoi", "pesq", "scipy", "soundfile", "soxr"}
    code = f"import sys, {catalogue.__name__}; print(*{heavy!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
