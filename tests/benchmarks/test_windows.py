"""The window sweep: clips joined to one, one contender for each length, and a small sweep with the embedded model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from apcodec_benchmarks import requests
from apcodec_benchmarks.report.tables import markdown, summary
from apcodec_benchmarks.requests import WindowsRequest, run_windows
from apcodec_benchmarks.timing import Schedule
from apcodec_benchmarks.windows import LENGTHS, WHOLE, joined, window_entries
from apcodec_deploy.bundle import Bundle


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """A second of noise in two channels, and half a second of a tone at another rate."""
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(first, np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 2)), 48_000, subtype="FLOAT")
    soundfile.write(second, 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8_000) / 16_000), 16_000, subtype="FLOAT")
    return [first, second]


@pytest.mark.parametrize("seconds", [0.4, 1.5, 4.0])
def test_joined_clips_have_the_length_and_the_rate_that_were_asked_for(
    clips: list[Path], tmp_path: Path, seconds: float
) -> None:
    joined(clips, tmp_path / "joined.wav", seconds=seconds, sample_rate=48_000)
    info = soundfile.info(tmp_path / "joined.wav")
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (round(seconds * 48_000), 48_000, 1, "FLOAT")


def test_joined_clips_follow_each_other_and_repeat(clips: list[Path], tmp_path: Path) -> None:
    joined(clips, tmp_path / "joined.wav", seconds=4.0, sample_rate=48_000)
    audio, _ = soundfile.read(tmp_path / "joined.wav", dtype="float32")
    first, _ = soundfile.read(clips[0], dtype="float32")
    np.testing.assert_allclose(audio[:48_000], first.mean(axis=1), atol=1e-7)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(24_000) / 48_000)
    assert np.abs(audio[48_000:72_000] - tone)[500:-500].max() < 1e-3
    np.testing.assert_array_equal(audio[72_000:144_000], audio[:72_000])


def test_there_is_a_contender_for_each_length_and_one_for_whole_clips() -> None:
    entries = window_entries()
    assert [entry.options["window"] for entry in entries] == [*LENGTHS, WHOLE]
    assert len({entry.name for entry in entries}) == len(entries)
    assert [entry.name for entry in window_entries((0.5,))] == ["0.50 s", WHOLE]


def test_the_models_default_is_among_the_lengths() -> None:
    spec = Bundle.embedded().spec
    assert spec.layout() in [spec.layout(seconds) for seconds in LENGTHS]


@pytest.mark.slow
def test_a_small_sweep_of_the_embedded_model(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    audio, rate = soundfile.read(examples / "speech_female_48k.wav")
    soundfile.write(folder / "female.wav", audio[: 2 * rate], rate)
    monkeypatch.setattr(requests, "window_entries", lambda: window_entries((1 / 3, 4 / 3)))
    monkeypatch.setattr(requests, "QUICK", Schedule(warm_up_calls=0, calls=1))
    results = run_windows(WindowsRequest(folder=folder, threads=2, seconds=3.0, quick=True))
    names = ["0.33 s", "1.33 s", WHOLE]
    assert [each.name for each in results.contenders] == names
    rows = {row.contender: row for row in results.quality}
    assert list(rows) == names
    assert {row.seconds for row in rows.values()} == {3.0}
    assert rows[WHOLE].against is None
    for name in names[:2]:
        assert rows[name].against == WHOLE
        assert all(0.3 < share <= 1 for share in rows[name].agreement)
    assert np.mean(rows["1.33 s"].agreement) > np.mean(rows["0.33 s"].agreement)  # nearer to the whole clip
    assert [(each.contender, each.case.file, each.case.seconds) for each in results.timings] == [
        (name, "joined.wav", 3.0) for name in names
    ]
    for text in (markdown(results), summary(results)):
        cells = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
        assert cells == ["window", *names]
    assert results.stages == ()  # no table of a sweep shows them
    assert str(tmp_path) not in str(results.to_dict())
