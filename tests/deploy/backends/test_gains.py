"""What OpenVINO is said to gain is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_benchmarks.results import Results
from apcodec_deploy.backends.gains import AVX2, MEASURED, VNNI, gain, kind_of
from apcodec_deploy.processor import Processor

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "cpu"


@pytest.mark.parametrize(
    ("flags", "limit", "kind"),
    [
        ({"avx2"}, "", AVX2),
        ({"avx2", "avx512f"}, "", AVX2),
        ({"avx2", "avx512f", "avx512_vnni"}, "", VNNI),
        ({"avx2", "avx512f", "avx512_vnni"}, "AVX2", AVX2),
        ({"avx2", "avx_vnni"}, "", VNNI),
        ({"avx2", "avx_vnni"}, "AVX2", AVX2),
        ({"asimd", "asimddp"}, "", None),
        (set(), "", None),
    ],
)
def test_processors_are_told_apart_by_their_products_of_bytes(flags: set[str], limit: str, kind: str | None) -> None:
    processor = Processor("a CPU", frozenset(flags), limit)
    assert kind_of(processor) == kind
    assert gain(processor) == (None if kind is None else MEASURED[kind])


@pytest.mark.parametrize("kind", [VNNI, AVX2])
def test_the_gain_is_that_of_the_stored_results(kind: str) -> None:
    held = Results.read(RESULTS / f"{kind}-10s.json")
    rtf = {each.contender: each.rtf for each in held.timings if each.mode == "cpu1"}
    assert MEASURED[kind] == pytest.approx(rtf["apcodec"] / rtf["apcodec-int8"], abs=0.05)
