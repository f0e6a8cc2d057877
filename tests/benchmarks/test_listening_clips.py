"""From what was heard to the page: which clips are kept, how long, and metrics titled as in the catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_plot_results import record
from benchmark_plot_results import results as made_results

from apcodec_benchmarks.listening import Clips, write_page
from apcodec_benchmarks.measurements import Quality
from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.quality import Heard
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError, OutputError

RATE = 8_000


def heard(file: str = "x.wav", seconds: float = 1.0) -> Heard:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)
    return Heard(file=file, sample_rate=RATE, original=audio, decoded={"a": audio / 2, "b": -audio})


def results(**metrics: float) -> Results:
    row = Quality(contender="a", file="x.wav", seconds=1.0, metrics=metrics)
    return replace(made_results(record("a"), record("b")), quality=(row,))


def test_the_first_clips_are_kept() -> None:
    clips = Clips(most=2, seconds=10.0)
    for name in "xyz":
        clips.add(heard(name))
    assert [each.file for each in clips.held] == ["x", "y"]


def test_no_clips_can_be_asked_for() -> None:
    clips = Clips(most=0, seconds=10.0)
    clips.add(heard())
    assert clips.held == []


@pytest.mark.parametrize(("limit", "samples"), [(0.25, 2000), (1.0, 8000), (30.0, 8000), (1e-9, 1)])
def test_clips_are_shortened_alike(limit: float, samples: int) -> None:
    clip, clips = heard(), Clips(most=1, seconds=limit)
    clips.add(clip)
    (kept,) = clips.held
    kept.check()
    assert kept.sample_rate == RATE
    np.testing.assert_array_equal(kept.original, clip.original[:samples])
    for name in ("a", "b"):
        np.testing.assert_array_equal(kept.decoded[name], clip.decoded[name][:samples])


def test_what_is_not_kept_can_be_forgotten() -> None:
    clip, clips = heard(seconds=5.0), Clips(most=1, seconds=0.5)
    clips.add(clip)
    for whole, kept in ((clip.original, clips.held[0].original), (clip.decoded["a"], clips.held[0].decoded["a"])):
        assert not np.shares_memory(whole, kept)


def test_the_page_shows_the_metrics_that_there_are_by_their_titles(tmp_path: Path) -> None:
    clips = Clips(most=1, seconds=1.0)
    clips.add(heard())
    write_page(tmp_path / "page.html", results(stoi=0.87654, si_sdr=3.21), clips, speed=None, overwrite=False)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for name in ("stoi", "si_sdr"):
        assert METRICS[name].title in page
        assert METRICS[name].about in page
    assert "0.877" in page and "0.8765" not in page  # the catalogue's digits
    for name in ("pesq", "lsd"):
        assert METRICS[name].title not in page
    assert page.count('class="clip"') == 1


def test_an_existing_page_is_replaced_only_where_that_was_asked_for(tmp_path: Path) -> None:
    page, clips = tmp_path / "page.html", Clips(most=1, seconds=1.0)
    clips.add(heard())
    page.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_page(page, results(), clips, speed=None, overwrite=False)
    assert page.read_text() == "mine"
    write_page(page, results(), clips, speed=None, overwrite=True)
    assert page.read_text().startswith("<!")


def test_nothing_heard_is_nothing_to_listen_to(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="nothing to listen to"):
        write_page(tmp_path / "page.html", results(), Clips(most=3, seconds=1.0), speed=None, overwrite=False)
    assert not (tmp_path / "page.html").exists()
