"""Tests of ``tests/gpu`` as checks of a part: what a GPU must do is written down once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import Scale

ROOT = Path(__file__).parents[3]
"""The checkout: the tests are in no wheel."""
TESTS, CLIPS = ROOT / "tests" / "gpu", ROOT / "examples"
"""The tests, and the clips that they use."""


class _Listener:
    """Hears from pytest what became of each test."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.heard = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.passed:
            return
        self.heard += 1
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        if report.skipped:
            self._journal.fact(f"not checked: {name}", str(report.longrepr[2]))
        else:
            self._journal.check(name, report.passed, "" if report.passed else _reason(report))


def run_tests(journal: Journal, scale: Scale, subject: str) -> None:
    """Run the tests of a subject, as pytest's ``-k`` takes it; none at all is a failed check."""
    import pytest

    listener, expression = _Listener(journal), f"({subject}){scale.tests}"
    arguments = [
        str(TESTS),
        "-m",
        "gpu",
        "-k",
        expression,
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-W",
        "default",
    ]
    pytest.main([*arguments, "--rootdir", str(ROOT)], plugins=[listener])
    if not listener.heard:
        journal.check("tests of the GPU", False, f"{TESTS} has none for {expression!r}, or they do not load")


def _reason(report: Any) -> str:
    """The line that says why a test failed."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return (
        f"{crash.message.splitlines()[0]} ({Path(crash.path).name}:{crash.lineno})" if crash else str(report.longrepr)
    )
