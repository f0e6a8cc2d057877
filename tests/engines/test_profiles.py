"""Profiles as files: what ships, what the words in them come to, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Range, Shapes
from apcodec_deploy.errors import EngineError
from apcodec_deploy.streams import CALL_LATENTS
from apcodec_engines.profiles import load_profile, resolve, shipped_profiles

GOOD = '[[shapes]]\nbatch = [1, 2, 3]\nlatents = [1, "window", "20 s"]\n'


def test_four_profiles_ship(demo: Bundle, streamable_bundle: Path) -> None:
    assert shipped_profiles() == ["low-latency", "max-window", "streaming", "throughput"]
    assert load_profile("auto", demo.spec) == load_profile("low-latency", demo.spec)
    streams = Bundle.open(streamable_bundle).spec
    assert load_profile("auto", streams) == load_profile("streaming", streams)


def test_live_streams_have_few_shapes_all_of_which_are_recorded(streamable_bundle: Path) -> None:
    profile = load_profile("streaming", Bundle.open(streamable_bundle).spec)
    assert (profile.max_batch, profile.max_latents) == (256, CALL_LATENTS)
    for streams, filled in ((1, 1), (2, 4), (4, 4), (5, 16), (17, 64), (65, 256), (256, 256)):
        for tokens in range(1, 9):
            index = profile.best(streams, tokens)
            assert profile.shapes[index].batch == (filled, filled, filled)
            assert profile.recorded(index, filled, tokens)
    assert profile.recordings == 5 * 8 + 1
    assert profile.best(3, CALL_LATENTS) == 5 and not profile.recorded(5, 3, CALL_LATENTS)


@pytest.mark.parametrize("name", ["low-latency", "max-window", "streaming", "throughput"])
def test_every_shipped_profile_takes_all_that_the_default_layout_makes(demo: Bundle, name: str) -> None:
    profile = load_profile(name, demo.spec)
    window = demo.spec.layout().length
    for latents in (1, 2, window // 2, window):
        shapes = profile.shapes[profile.best(1, latents)]
        assert latents in shapes.latents
        assert 1 in shapes.batch


def test_words_stand_for_latents_of_the_model(demo: Bundle) -> None:
    window = demo.spec.layout().length
    assert resolve("mine", GOOD, demo.spec).shapes == (Shapes(Range(1, 2, 3), Range(1, window, 3000)),)
    slower = replace(demo.spec, sample_rate=24_000)
    assert resolve("mine", GOOD, slower).shapes[0].latents.greatest == 1500


def test_a_file_is_called_by_its_name(demo: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("cuda_graphs = true\n" + GOOD)
    profile = load_profile(str(tmp_path / "mine.toml"), demo.spec)
    assert (profile.name, profile.cuda_graphs) == ("mine", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shapes = ", "is not TOML"),
        ("", "holds no shapes"),
        ("x = " + "[" * 5000, "is not TOML"),
        (GOOD.replace('"20 s"', "9" * 5000), "is not TOML"),
        (GOOD.replace("20 s", "9" * 400 + " s"), "a whole number, 'window' or seconds"),
        ("shapes = 3", r"each of \[\[shapes\]\] has the keys batch and latents"),
        (GOOD + "frames = 3", r"each of \[\[shapes\]\] has the keys batch and latents"),
        ("workspace = 1\n" + GOOD, "unknown keys workspace; expected cuda_graphs, shapes"),
        ("cuda_graphs = 1\n" + GOOD, "cuda_graphs is 1; true or false"),
        (GOOD.replace("20 s", "20 seconds"), "latents holds '20 seconds'; a whole number, 'window' or seconds"),
        (GOOD.replace("20 s", "1 s"), r"latents is \[1, 418, 150\]; 1 <= least"),
        (GOOD.replace("20 s", "181 s"), "27150 latents at once; 27001 are the most"),
        (GOOD.replace("[1, 2, 3]", "[1, 2]"), r"batch is \[1, 2\]"),
        (GOOD.replace("[1, 2, 3]", '"all"'), "batch is 'all'"),
    ],
)
def test_what_is_no_profile_is_refused(demo: Bundle, text: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        resolve("mine", text, demo.spec)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(demo: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'fast'; name one of low-latency, max-window, streaming, throughput"):
        load_profile("fast", demo.spec)
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(EngineError, match="cannot be read"):
        load_profile(str(tmp_path / "mine.toml"), demo.spec)
