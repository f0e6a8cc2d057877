"""A bundle's proof: read whole or refused, and judged as one counts by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BundleError
from apcodec_deploy.proof import AUDIO, CODES, DECODED, Limit, Proof, Verdict, decibels


@pytest.fixture(scope="module")
def proof() -> Proof:
    return Proof.of(Bundle.embedded())


class Given:
    """A backend that gives what the proof holds, but for some codes and some noise."""

    def __init__(self, proof: Proof, *, wrong: int = 0, noise: float = 0.0) -> None:
        self.codes, self.decoded = proof.codes.astype(np.int32), proof.decoded.copy()
        self.codes.flat[:wrong] ^= 1
        self.decoded *= 1 + noise

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]:
        return self.codes[None]

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.pad(self.decoded, (0, 1))[None]


def test_it_is_one_default_window(proof: Proof) -> None:
    spec = Bundle.embedded().spec
    latents = spec.layout().length
    assert proof.codes.shape == (spec.num_codebooks, latents)
    assert proof.audio.shape == proof.decoded.shape == (latents * spec.samples_per_latent - 1,)
    assert np.abs(proof.audio[: len(proof.audio) // 2]).max() > 0.1 < np.abs(proof.audio[len(proof.audio) // 2 :]).max()


def test_equal_results_hold(proof: Proof) -> None:
    verdict = proof.judge(Given(proof), "int8")
    assert (verdict.agreement, verdict.decibels, verdict.holds) == (1.0, 99.0, True)


@pytest.mark.parametrize(("wrong", "noise", "holds"), [(0.2, 0.0, True), (0.3, 0.0, False), (0.0, 0.2, False)])
def test_what_is_too_far_away_does_not_hold(proof: Proof, wrong: float, noise: float, holds: bool) -> None:
    count = round(wrong * proof.codes.size)
    verdict = proof.judge(Given(proof, wrong=count, noise=noise), "int8")
    assert verdict.agreement == pytest.approx(1 - count / proof.codes.size)
    assert verdict.holds is holds
    assert "of the codes" in str(verdict) and "75% and 20 dB" in str(verdict)


def test_sound_that_is_not_finite_does_not_hold(proof: Proof) -> None:
    broken = Given(proof)
    broken.decoded[7] = np.nan
    assert not proof.judge(broken, "int8").holds
    broken.decoded[7] = np.inf
    assert not proof.judge(broken, "int8").holds


def test_decibels_are_those_of_the_textbook() -> None:
    signal = np.ones(1000, np.float32)
    assert decibels(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-3)
    assert decibels(signal, signal) == 99
    assert decibels(np.zeros(3, np.float32), np.ones(3, np.float32)) == -99
    assert decibels(signal, np.full(1000, np.nan, np.float32)) == -99


def test_a_verdict_needs_both() -> None:
    limit = Limit(0.75, 20.0)
    assert Verdict(0.75, 20.0, limit).holds
    assert not Verdict(0.749, 99.0, limit).holds and not Verdict(1.0, 19.9, limit).holds


def copy(tmp_path: Path, change: Any = lambda manifest: None) -> Bundle:
    path = tmp_path / "bundle"
    shutil.copytree(Bundle.embedded().path, path)
    manifest = json.loads((path / "model.json").read_text())
    change(manifest)
    (path / "model.json").write_text(json.dumps(manifest))
    return Bundle.open(path)


def test_a_bundle_without_one_says_what_to_do(tmp_path: Path) -> None:
    bundle = copy(tmp_path, lambda manifest: manifest.pop("proof"))
    with pytest.raises(BundleError, match=r"carries no proof.*export the checkpoint again"):
        Proof.of(bundle)


@pytest.mark.parametrize("name", [AUDIO, CODES, DECODED])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    bundle = copy(tmp_path)
    data = bytearray((bundle.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle.path / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported"):
        Proof.of(bundle)
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        Proof.of(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof.pop("limits"),
        lambda proof: proof["limits"].update(int8={"agreement": "much"}),
        lambda proof: proof["files"].pop(CODES),
        lambda proof: proof.update(files=[]),
    ],
)
def test_a_description_that_is_not_whole_is_refused(tmp_path: Path, change: Any) -> None:
    with pytest.raises(BundleError, match="has a proof that is not whole"):
        Proof.of(copy(tmp_path, lambda manifest: change(manifest["proof"])))


def test_a_precision_without_a_limit_is_refused(proof: Proof) -> None:
    with pytest.raises(BundleError, match="says nothing of int4"):
        proof.judge(Given(proof), "int4")
