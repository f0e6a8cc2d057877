"""A test process that crashes is named, with its end, and the tests after it are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os, pytest

@pytest.mark.parametrize("number", range(4))
def test_one(number):
    if number == 1:
        {crash}
"""


@pytest.mark.parametrize(
    ("crash", "end"),
    [
        ("os.kill(os.getpid(), 15)", "it was ended by SIGTERM"),
        ("os._exit(3)", "it ended with exit code 3"),
    ],
)
def test_how_a_test_process_ended_is_told_beside_its_test(tmp_path: Path, crash: str, end: str) -> None:
    (tmp_path / "test_a.py").write_text(TESTS.format(crash=crash))
    (tmp_path / "conftest.py").write_text(
        "from crowd import Ends\n\ndef pytest_configure(config):\n    config.pluginmanager.register(Ends())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | {"PYTEST_PLUGINS": "xdist.plugin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"crashed while running 'test_a.py::test_one[1]'; {end}" in ran.stdout, ran.stdout + ran.stderr
    assert "1 failed, 3 passed" in ran.stdout
