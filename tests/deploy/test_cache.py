"""Where the user's cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_deploy.cache import VARIABLE, cache_folder


def test_the_variable_names_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_folder("proofs") == tmp_path / "proofs"
    monkeypatch.delenv(VARIABLE)
    assert cache_folder("proofs").parts[-2:] == ("apcodec-deploy", "proofs")
