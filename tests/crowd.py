"""Test processes side by side: how one ended that crashed is told beside the test that it was at."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest

_PATIENCE = 20.0
"""Seconds that a process may take to be gone whose pipe is closed; what it still does is ended after 15 s."""


class Ends:
    """A plugin of pytest, for the process that hands out the tests."""

    def __init__(self) -> None:
        self._ends: dict[object, str] = {}

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        if error is not None:
            try:
                self._ends[node] = end_of(node.gateway._io.popen.wait(_PATIENCE))
            except subprocess.TimeoutExpired:
                self._ends[node] = "has closed its pipe, and goes on"

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        report.longrepr += f"; it {self._ends[report.node]}"


def end_of(code: int) -> str:
    """How a process ended, by its exit code: minus a signal's number where one ended it."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
