"""Folders are read alike by everything that reads one: linked speakers are heard, macOS's attributes are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apcodec_benchmarks.requests import audio_files
from apcodec_training.material import Material


def trained_on(folder: Path) -> list[str]:
    material = Material.find(folder, validation=None, clips=0, seed=0)
    assert not [path for path, _ in material.skipped if path.name.startswith("._")]
    return [each.name for each in material.training]


def measured(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in audio_files(folder)]


@pytest.mark.parametrize("read", [trained_on, measured])
def test_links_are_followed_and_attributes_left_out(tmp_path: Path, read: Callable[[Path], list[str]]) -> None:
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    tone = np.sin(np.arange(48_000) / 20).astype(np.float32) / 2
    for path in (corpus / "a.wav", corpus / ".hidden.wav", corpus / "._recorded.wav", elsewhere / "b.wav"):
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone, 48_000)
    (corpus / "._a.wav").write_bytes(bytes.fromhex("00051607") + bytes(100))
    (corpus / "speaker").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "back").symlink_to(corpus, target_is_directory=True)
    (corpus / "nowhere").symlink_to(tmp_path / "gone")
    assert sorted(read(corpus)) == ["._recorded.wav", ".hidden.wav", "a.wav", "speaker/b.wav"]
