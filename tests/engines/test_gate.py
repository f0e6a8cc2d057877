"""The gate: each kind of engine that the field has seen go wrong is stopped, and a good one passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from remembered import Remembered

from apcodec_deploy.backends.base import Carried
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_engines.gate import Calls, check_decode, check_encode

CALLS = Calls(51)
Change = Callable[[NDArray[Any]], NDArray[Any]]


class Altered(OnnxRuntimeBackend):
    """A backend with something done to what comes out."""

    def __init__(self, reference: OnnxRuntimeBackend, change: Change) -> None:
        super().__init__(Bundle.embedded())
        self._reference, self._change = reference, change

    def push(
        self, direction: str, rows: NDArray[Any], states: Sequence[Carried] = ()
    ) -> tuple[NDArray[Any], tuple[Carried, ...]]:
        result, after = self._reference.push(direction, rows, states)
        return self._change(result), after


@pytest.fixture(scope="module")
def reference() -> OnnxRuntimeBackend:
    return Remembered(Bundle.embedded())


def noisy(decibels: float) -> Change:
    def change(audio: NDArray[Any]) -> NDArray[Any]:
        noise = np.random.default_rng(0).standard_normal(audio.shape)
        scaled = noise * np.sqrt(np.square(audio).mean()) * 10 ** (-decibels / 20)
        return (audio + scaled).astype(np.float32)

    return change


def wrong_codes(share: float) -> Change:
    def change(codes: NDArray[Any]) -> NDArray[Any]:
        wrong = np.random.default_rng(0).random(codes.shape) < share
        return np.where(wrong, (codes + 1) % 1024, codes).astype(np.int32)

    return change


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_graphs_themselves_pass(reference: OnnxRuntimeBackend, demo: Bundle, precision: str) -> None:
    for check in (check_encode, check_decode):
        found = check(OnnxRuntimeBackend(demo), reference, demo.spec, CALLS, precision)
        assert found.passed, found
        assert found.to_dict()["passed"]
    assert set(found.measured["snr_db"]) == {"speech", "music", "speech +24 dB", "silence", "constant"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda audio: np.full_like(audio, np.nan), "speech gives audio with NaN or infinity"),
        (lambda audio: np.zeros_like(audio), "speech gives nothing but zeros"),
        (lambda audio: audio[:, :-320], r"speech gives audio of \(1, 16000\), \(1, 16320\) is expected"),
        (noisy(30), r"the same codes decode with speech .* dB \(limit 40\)"),
    ],
)
def test_wrong_audio_is_stopped(reference: OnnxRuntimeBackend, demo: Bundle, change: Change, words: str) -> None:
    found = check_decode(Altered(reference, change), reference, demo.spec, CALLS, "float16")
    assert not found.passed
    with pytest.raises(AssertionError, match=words):
        raise AssertionError("; ".join(found.problems))


def test_noise_that_a_16_bit_file_adds_itself_is_no_fault(reference: OnnxRuntimeBackend, demo: Bundle) -> None:
    def hushed(audio: NDArray[Any]) -> NDArray[Any]:
        """Silence decodes to next to nothing: half of that is noise that nobody can hear."""
        return (audio * (0.5 if np.abs(audio).max() < 1e-4 else 1)).astype(np.float32)

    found = check_decode(Altered(reference, hushed), reference, demo.spec, CALLS, "float16")
    assert found.measured["snr_db"]["silence"] < 10
    assert found.passed, found


def test_float32_is_held_to_more(reference: OnnxRuntimeBackend, demo: Bundle) -> None:
    assert check_decode(Altered(reference, noisy(50)), reference, demo.spec, CALLS, "float16").passed
    assert not check_decode(Altered(reference, noisy(50)), reference, demo.spec, CALLS, "float32").passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda codes: np.zeros_like(codes), "speech gives one code only"),
        (lambda codes: codes + 1024, "speech gives codes of .* to "),
        (lambda codes: codes - 1024, "speech gives codes of .* from -"),
        (lambda codes: codes[:, :, :-1], r"speech gives codes of \(1, 4, 50\)"),
        (wrong_codes(0.2), "of a codebook's codes are those of float32"),
    ],
)
def test_wrong_codes_are_stopped(reference: OnnxRuntimeBackend, demo: Bundle, change: Change, words: str) -> None:
    found = check_encode(Altered(reference, change), reference, demo.spec, CALLS, "float16")
    assert not found.passed
    with pytest.raises(AssertionError, match=words):
        raise AssertionError("; ".join(found.problems))


def test_a_few_other_codes_are_rounding(reference: OnnxRuntimeBackend, demo: Bundle) -> None:
    found = check_encode(Altered(reference, wrong_codes(0.005)), reference, demo.spec, CALLS, "float16")
    assert found.passed
    assert 0.95 < min(found.measured["code_agreement"]) < 1
