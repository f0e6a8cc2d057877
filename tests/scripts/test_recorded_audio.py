"""Training data of recordings: nothing held out comes in, and what is made of files is what the script says."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The scripts as modules, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield lambda name: importlib.import_module(name)
        for name in ("recorded_audio", "recorded_clips", "recorded_sources", "held_out_speech"):
            sys.modules.pop(name, None)


def noise(seconds: float, rate: int, *, peak: float = 0.5, seed: int = 0) -> np.ndarray:
    """White noise: content up to half the rate."""
    audio = np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate))
    return np.asarray(audio / np.abs(audio).max() * peak)


def test_what_is_held_out_is_no_source_and_cannot_become_one(scripts: Any) -> None:
    sources = scripts("recorded_sources")
    measured = scripts("held_out_speech").PACKAGES
    others = ("sound-theme-freedesktop", "yaru-theme-sound", "ukui-media", "tuxpaint", "tuxpaint-data", "VCTK-Corpus")
    for package in (*measured, *others):
        assert package not in {source.package for source in sources.SOURCES}
        with pytest.raises(ValueError, match="is held out"):
            sources.Source(package=package, kind="speech", folder="x", voice=sources.first_folder, licence="")


def test_voices_are_told_by_path_and_one_that_two_packages_share_is_on_one_side(scripts: Any) -> None:
    sources = scripts("recorded_sources")
    path = PurePosixPath
    assert sources.fish(path("city/cs/vit-m-hlava.ogg")) == "small"
    assert sources.fish(path("windoze/nl/win-v-costim3.ogg")) == "big"
    assert sources.fish(path("city/cs/vit-hs-klid1.ogg")) == "city-others"
    assert sources.piece(path("muldjord/chaos_god/guitar.ogg")) == "chaos_god"
    assert sources.piece(path("love_theme.ogg")) == "love_theme"
    assert sources.folders(path("de/male1/s5.ogg")) == "de-male1"
    assert sources.number(path("a/5.ogg")) == "5"
    by_package = {source.package: source for source in sources.SOURCES if source.kind == "speech"}
    assert by_package["klettres-data"].validation == by_package["ktuberling-data"].validation
    assert any(source.validation for source in sources.SOURCES if source.kind == "music")


def test_files_that_teach_nothing_are_left_out_by_their_reason(scripts: Any) -> None:
    clips = scripts("recorded_clips")
    good = noise(1, 44_100)
    time = np.arange(44_100) / 44_100
    assert clips.fault(good, 44_100, "speech") is None
    assert clips.fault(good * 0.001, 44_100, "speech") == "silent"
    assert clips.fault(good[:4000], 44_100, "speech") == "short"
    assert clips.fault(np.clip(good * 3, -1, 1), 44_100, "speech") == "clipped"
    assert clips.fault(np.sin(2 * np.pi * 9000 * time) / 2, 44_100, "speech") == "narrow"
    assert clips.fault(np.sin(2 * np.pi * 9000 * time) / 2, 44_100, "narrow_speech") is None
    assert clips.bandwidth(noise(1, 16_000), 16_000) == pytest.approx(8000, abs=20)


def test_silence_at_the_ends_is_cut_to_half_a_second_and_faded(scripts: Any) -> None:
    clips = scripts("recorded_clips")
    padded = np.concatenate((np.zeros(48_000), noise(1, 48_000), np.zeros(9600)))
    trimmed = clips.trimmed(padded, 48_000)
    assert abs(len(trimmed) - (24_000 + 48_000 + 9600)) < 10
    bare = clips.trimmed(noise(1, 48_000), 48_000)
    assert len(bare) == 48_000 and bare[0] == 0 == bare[-1]
    assert np.array_equal(bare[240:-240], noise(1, 48_000)[240:-240])


def test_words_are_joined_to_clips_and_nothing_is_lost(scripts: Any) -> None:
    clips = scripts("recorded_clips")
    words = [(noise(3, 44_100, seed=seed), 44_100) for seed in range(20)]
    long = [(noise(47, 48_000), 48_000)]
    plain = list(clips.clips(words, 0.0, np.random.default_rng(0)))
    assert [round(len(clip) / 48_000) for clip in plain] == [18, 18, 18, 6]
    assert all(0.24 < np.abs(clip).max() < 0.9 for clip in plain)
    raised = list(clips.clips(words, 1.0, np.random.default_rng(0)))
    assert [len(clip) for clip in raised] == [6 * 3 * 44_100] * 3 + [2 * 3 * 44_100], "as they are, played faster"
    assert [len(clip) for clip in clips.clips(long, 1.0, np.random.default_rng(0))] == [960_000, 960_000, 336_000]
    assert not list(clips.clips([(noise(1, 48_000), 48_000)], 0.0, np.random.default_rng(0))), "too short for a clip"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The unpacked files of a package of two voices: six words each, one of them there twice."""
    root = tmp_path / "unpacked"
    for voice in ("da", "lt"):
        for word in range(6):
            path = root / "usr/share/klettres" / voice / "alpha" / f"{word}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(4, 44_100, seed=word + 10 * (voice == "lt")), 44_100)
    shutil.copy(root / "usr/share/klettres/da/alpha/0.wav", root / "usr/share/klettres/da/alpha/again.wav")
    (root / "usr/share/klettres/da/alpha/broken.ogg").write_bytes(b"OggS, but no more")
    (root / "usr/share/klettres/readme.txt").write_text("no sound")
    doc = root / "usr/share/doc/klettres-data"
    doc.mkdir(parents=True)
    (doc / "copyright").write_text("free")
    return root


def test_a_whole_folder_is_made_split_by_voice_and_told(
    scripts: Any, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = scripts("recorded_audio")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "klettres-data_1_all.deb").touch()
    monkeypatch.setattr(audio, "SOURCES", audio.SOURCES[:1])
    monkeypatch.setattr(audio, "unpacked", lambda archive, target: shutil.copytree(package, target))
    monkeypatch.setattr(audio, "version", lambda archive: "1")
    monkeypatch.setattr(audio, "ProcessPoolExecutor", ThreadPoolExecutor)
    data = tmp_path / "data"
    made = audio.folder_of_recordings(data, tmp_path / "packages", raised=0.0, jobs=1)
    names = {side: sorted(path.name for path in (data / side).rglob("*.flac")) for side in ("training", "validation")}
    assert names == {
        "training": ["klettres-data-da-000.flac", "klettres-data-da-001.flac"],
        "validation": ["klettres-data-lt-000.flac", "klettres-data-lt-001.flac"],
    }
    infos = [soundfile.info(path) for path in (data / "training").rglob("*.flac")]
    assert {(info.samplerate, info.channels, info.subtype) for info in infos} == {(48_000, 1, "PCM_16")}
    assert sum(info.duration for info in infos) == pytest.approx(24, abs=0.01)
    (row,) = json.loads((data / "sources.json").read_text(encoding="utf-8"))
    assert row == made[0]
    assert (row["package"], row["version"], row["licence"], row["kind"]) == ("klettres-data", "1", "GPL-2+", "speech")
    assert row["training"] == {"hours": 0.007, "voices": ["da"]} and row["validation"]["voices"] == ["lt"]
    assert row["left_out"] == {"unreadable": 1}
    assert "| klettres-data | 1 | GPL-2+ | speech | 0.01 | 1 |" in (data / "sources.md").read_text(encoding="utf-8")
    assert (data / "licences" / "klettres-data").read_text() == "free"
    before = {path.name: path.read_bytes() for path in data.rglob("*.flac")}
    audio.folder_of_recordings(tmp_path / "again", tmp_path / "packages", raised=0.0, jobs=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").rglob("*.flac")} == before
