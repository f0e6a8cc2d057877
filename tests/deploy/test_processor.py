"""Which processor this is, read from what the system says."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_deploy import processor
from apcodec_deploy.processor import SWITCHES, this_processor

TWO_CORES = """processor\t: 0
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processor, "_FILE", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(TWO_CORES)
    return tmp_path / "cpuinfo"


def test_the_first_core_speaks_for_all(told: Path) -> None:
    found = this_processor()
    assert found.name == "Some CPU @ 2 GHz"
    assert found.instructions == ("avx2", "avx512f", "avx512_vnni")
    assert found.allows_bfloat16 and found.multiplies_bytes


def test_a_system_that_does_not_tell_has_no_instructions(told: Path) -> None:
    told.unlink()
    found = this_processor()
    assert found.instructions == () and found.key


def test_arm_calls_them_features(told: Path) -> None:
    told.write_text("Features\t: fp asimd asimddp i8mm\n")
    assert this_processor().instructions == ("asimd", "asimddp", "i8mm")


def test_processors_that_compute_alike_have_one_key(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = this_processor().key
    assert this_processor().key == first
    told.write_text(TWO_CORES.replace("avx512_vnni", ""))
    lesser = this_processor().key
    monkeypatch.setenv(SWITCHES[0], "avx2")
    limited = this_processor()
    assert limited.limit == "AVX2" and not limited.allows_bfloat16 and not limited.multiplies_bytes
    assert len({first, lesser, limited.key}) == 3
