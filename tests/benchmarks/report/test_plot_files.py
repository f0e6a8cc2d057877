"""Files of plots: the same bytes each time, whatever the user's style, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from benchmark_plot_results import everything, placed, record, results, sweep, timing

from apcodec_benchmarks.report.plots import summary_svgs, write_plots
from apcodec_deploy.errors import MissingDependencyError, OutputError


def test_names_are_text_whatever_characters_they_hold() -> None:
    made = results(record("a", "<b> & $x_1$ \x1b 声"), timings=[timing("a", "cpuN", 0.5)])
    assert "<b> & $x_1$ \N{REPLACEMENT CHARACTER} 声" in placed(summary_svgs(made)["rtf.svg"])


_SCRIPT = """
import hashlib, sys
from apcodec_benchmarks.report.plots import summary_svgs
assert not any(name.partition(".")[0] == "matplotlib" for name in sys.modules)
from benchmark_plot_results import everything, sweep
for made in (everything(), sweep("0.17 s", "whole")):
    for name, text in summary_svgs(made).items():
        print(name, hashlib.sha256(text.encode()).hexdigest())
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1"])
def test_every_process_draws_the_same_bytes_and_none_needs_pyplot(seed: str) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
    run = subprocess.run([sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = [
        f"{name} {hashlib.sha256(text.encode()).hexdigest()}"
        for made in (everything(), sweep("0.17 s", "whole"))
        for name, text in summary_svgs(made).items()
    ]
    assert run.stdout.splitlines() == expected


def test_the_users_style_changes_no_plot_and_is_kept() -> None:
    made = everything()
    expected = summary_svgs(made)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert summary_svgs(made) == expected
        assert dict(matplotlib.rcParams) == before


def test_an_existing_file_is_kept_and_so_is_the_folder_unless_it_may_be_replaced(tmp_path: Path) -> None:
    made = results(record("a"), timings=[timing("a", "cpuN", 0.5)])  # whose first plot is of speed
    (tmp_path / "rtf.svg").write_text("mine")
    with pytest.raises(OutputError, match=r"rtf\.svg exists"):
        write_plots(made, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rtf.svg"]
    assert (tmp_path / "rtf.svg").read_text() == "mine"
    write_plots(made, tmp_path, overwrite=True)
    assert (tmp_path / "rtf.svg").read_text().startswith("<?xml")


def test_without_matplotlib_it_is_said_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"apcodec-deploy\[bench\]"):
        summary_svgs(everything())
