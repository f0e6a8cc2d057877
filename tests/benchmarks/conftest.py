"""Contenders of known cost can be named in every test here: their processes find the module that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apcodec_benchmarks.contenders.catalogue import Entry


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))


def stand_in(name: str) -> Entry:
    """The entry of a stand-in; its name is that of its class, in lower case."""
    return Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}")


@pytest.fixture(name="stand_in")
def _stand_in() -> object:
    return stand_in
