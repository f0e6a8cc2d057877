"""Contenders of known cost can be named in every test here: their processes find the module that holds them."""

from __future__ import annotations

import pytest
from benchmark_stand_ins import PATH

from apcodec_benchmarks.contenders.catalogue import Entry


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PATH)


def stand_in(name: str) -> Entry:
    """The entry of a stand-in; its name is that of its class, in lower case."""
    return Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}")


@pytest.fixture(name="stand_in")
def _stand_in() -> object:
    return stand_in
