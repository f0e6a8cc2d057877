"""What is kept between runs of the tests is kept for the same sources only."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_once import key_of_sources

SOURCES = ("export/apcodec_export/graphs.py", "apcodec_deploy/spec.py", "tests/exports.py", "tests/golden/a/encoder_1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of a few files."""
    for name in (*SOURCES, "docs/a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("name", SOURCES)
def test_the_key_changes_with_every_source(root: Path, name: str) -> None:
    before = key_of_sources(root)
    (root / name).write_text("changed")
    changed = key_of_sources(root)
    (root / name).unlink()
    assert len({before, changed, key_of_sources(root)}) == 3


def test_the_key_does_not_change_with_anything_else(root: Path) -> None:
    before = key_of_sources(root)
    (root / "docs" / "a.md").write_text("changed")
    assert key_of_sources(root) == before
