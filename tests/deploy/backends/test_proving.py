"""A reduced precision is held against the bundle's proof once on a machine, and refused or passed over if it misses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apcodec_deploy import proof
from apcodec_deploy.backends import openvino, proving
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.openvino import open_openvino
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cache import VARIABLE
from apcodec_deploy.errors import BackendError, BundleError
from apcodec_deploy.processor import Processor
from apcodec_deploy.proof import Proof, Verdict

HERE = Processor("a CPU", frozenset({"avx2"}))


class Counted:
    """A backend whose calls are counted; it gives the proof's codes, all but a share of them."""

    name, reason, precision, batch_limit = "stand-in", "", "int8", 1

    def __init__(self, wrong: float = 0.0) -> None:
        self.held, self.wrong, self.calls = Proof.of(Bundle.embedded()), wrong, 0

    def encode(self, audio: Any) -> Any:
        self.calls += 1
        codes = self.held.codes[None].astype(np.int32)
        codes.flat[: round(self.wrong * codes.size)] ^= 1
        return codes

    def decode(self, codes: Any) -> Any:
        return self.held.decoded[None]

    def prepare(self, *, encode: bool, decode: bool) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path / "proofs"


@pytest.fixture
def demo() -> Bundle:
    return Bundle.embedded()


def prove(bundle: Bundle, backend: Any, runtime: str = "R 1", processor: Processor | None = HERE) -> Verdict:
    return proving.proven(bundle, backend, runtime=runtime, processor=processor)


def test_it_is_computed_once(demo: Bundle, cache: Path) -> None:
    backend = Counted(wrong=0.1)
    first = prove(demo, backend)
    assert first.agreement == pytest.approx(0.9, abs=1e-3)
    assert prove(demo, backend) == first and backend.calls == 1
    assert len(list(cache.iterdir())) == 1


def test_it_is_computed_anew_where_anything_differs(demo: Bundle, tmp_path: Path) -> None:
    backend = Counted()
    prove(demo, backend)
    prove(demo, backend, runtime="R 2")
    prove(demo, backend, processor=replace(HERE, limit="AVX2"))
    changed = {**demo.manifest["variants"]["int8"], "graphs": demo.manifest["graphs"]}
    manifest = {**demo.manifest, "variants": {**demo.manifest["variants"], "int8": changed}}
    other = Bundle(path=demo.path, name="", fingerprint=demo.fingerprint, spec=demo.spec, manifest=manifest)
    prove(other, backend)
    assert backend.calls == 4
    backend.precision = "bfloat16"
    prove(demo, backend)
    assert backend.calls == 5


def test_a_verdict_that_is_not_kept_is_computed_every_time(demo: Bundle, cache: Path) -> None:
    backend = Counted()
    prove(demo, backend, processor=None)
    prove(demo, backend, processor=None)
    assert backend.calls == 2 and not cache.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agreement": 1}', '{"agreement": "x", "snr_db": 1, "limit": {}}'])
def test_a_damaged_entry_is_replaced(demo: Bundle, cache: Path, text: str) -> None:
    backend = Counted()
    prove(demo, backend)
    (entry,) = cache.iterdir()
    entry.write_text(text)
    prove(demo, backend)
    prove(demo, backend)
    assert backend.calls == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    demo: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    assert prove(demo, Counted()).holds


def test_a_precision_that_misses_is_refused_with_its_figures_each_time(demo: Bundle) -> None:
    backend = Counted(wrong=0.5)
    for _ in range(2):
        with pytest.raises(
            BackendError,
            match=r"int8 is not right with R 1 on this processor \(a CPU\): 50\.0% of the codes and 99\.0 dB of the "
            r"sound of float32, where the bundle asks for 75% and 20 dB; take --precision float32",
        ):
            prove(demo, backend)
    assert backend.calls == 1


@pytest.fixture
def misses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Precisions that miss the proof here, whatever they compute."""
    names: list[str] = []
    judge = proof.Proof.judge

    def judged(self: Proof, backend: Any, precision: str) -> Verdict:
        if precision not in names:
            return judge(self, backend, precision)
        return replace(judge(self, Counted(), precision), agreement=0.485)

    monkeypatch.setattr(proof.Proof, "judge", judged)
    return names


def test_what_is_asked_for_and_misses_is_an_error_in_every_backend(demo: Bundle, misses: list[str]) -> None:
    misses.append("int8")
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(BackendError, match=r"int8 is not right with .* 48\.5% of the codes"):
            create(demo, BackendOptions(name=name, precision="int8", device="cpu"))


def test_what_misses_is_passed_over_where_the_choice_is_ours(
    demo: Bundle, misses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "candidates", lambda bundle, core: ("int8", "float32"))
    backend = open_openvino(demo)
    assert backend.precision == "int8" and backend.verdict is not None and backend.verdict.holds
    monkeypatch.setenv(VARIABLE, "/nonexistent/on/purpose")
    misses.append("int8")
    backend = open_openvino(demo)
    assert backend.precision == "float32" and backend.verdict is None
    assert "int8 is not right with OpenVINO" in backend.reason and "48.5%" in backend.reason


def test_a_model_for_timing_only_needs_no_proof(demo: Bundle, misses: list[str]) -> None:
    misses.append("int8")
    for name in ("openvino", "onnxruntime"):
        options = BackendOptions(name=name, precision="int8", device="cpu", unproven=True)
        assert create(demo, options).precision == "int8"


def test_a_bundle_without_a_proof_is_run_in_float32_unless_asked(demo: Bundle) -> None:
    manifest = {key: value for key, value in demo.manifest.items() if key != "proof"}
    bare = Bundle(path=demo.path, name="", fingerprint=demo.fingerprint, spec=demo.spec, manifest=manifest)
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(BundleError, match="carries no proof"):
            create(bare, BackendOptions(name=name, precision="int8", device="cpu"))
    backend = open_openvino(bare)
    assert backend.precision == "float32" and "carries no proof" in backend.reason
