"""The plot of a long run: of the results in the repository, the same bytes each time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow  # it starts matplotlib twice


def test_the_curves_of_the_results_are_drawn(tmp_path: Path) -> None:
    results = ROOT / "training" / "results" / "long.json"
    made = []
    for name in ("a.svg", "b.svg"):
        subprocess.run([sys.executable, ROOT / "training" / "curves.py", results, tmp_path / name], check=True)
        made.append((tmp_path / name).read_text(encoding="utf-8"))
    assert made[0] == made[1]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", made[0])
    for expected in ("LSD, lower is better", "STOI, higher is better", "APCodec-S, a student"):
        assert texts.count(expected) == 1
