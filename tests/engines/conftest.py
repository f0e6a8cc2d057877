"""What tests of the builder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_deploy.bundle import Bundle


@pytest.fixture
def demo() -> Bundle:
    """The embedded model."""
    return Bundle.embedded()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine cache of the test's own."""
    monkeypatch.setenv("APCODEC_ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
