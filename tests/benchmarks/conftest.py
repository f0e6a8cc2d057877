"""Contenders of known cost can be named in every test here: their processes find the module that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from benchmark_stand_ins import PATH

from apcodec_benchmarks import speed
from apcodec_benchmarks.contenders.catalogue import Entry


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PATH)


@pytest.fixture(scope="session", autouse=True)
def _small_ceiling() -> Iterator[None]:
    """The machine's ceilings are timed, too, but by calls that take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "CEILING", replace(speed.CEILING, factory="benchmark_stand_ins:small_ceiling"))
        yield


def stand_in(name: str) -> Entry:
    """The entry of a stand-in; its name is that of its class, in lower case."""
    return Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}")


@pytest.fixture(name="stand_in")
def _stand_in() -> object:
    return stand_in
