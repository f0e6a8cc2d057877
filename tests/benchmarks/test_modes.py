"""The modes: their names, when they are usual, and that their cases are what they say of the published model."""

from __future__ import annotations

import pytest

from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.modes import MODES, WINDOWS, Clips, modes_named
from apcodec_benchmarks.workers.host import _samples
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.spec import ModelSpec
from apcodec_export.network import PUBLISHED_48K

NAMES = ["cpuN", "cpu1", "paper", "window", "throughput", "engine", "length"]


@pytest.fixture(scope="module")
def published() -> ModelSpec:
    """The numbers of the published 48 kHz model."""
    return PUBLISHED_48K.spec()


def cases(name: str, clips: Clips | None = None) -> list[Case]:
    (mode,) = modes_named([name])
    return mode.cases(clips or Clips())


def latents(seconds: float, spec: ModelSpec) -> int:
    """Columns of codes of the clip that is really timed for so many seconds."""
    return spec.latents(_samples(seconds, spec.sample_rate))


def test_every_mode_has_its_name_and_words() -> None:
    assert [mode.name for mode in MODES] == NAMES
    assert all(mode.what for mode in MODES)
    assert [mode.name for mode in MODES if mode.single_thread] == ["cpu1"]


def test_modes_keep_their_order_whatever_the_users() -> None:
    assert [mode.name for mode in modes_named(["length", "cpu1"])] == ["cpu1", "length"]


def test_an_unknown_mode_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BenchmarkError, match=r"no mode is called gpu, tpu; there are: cpuN, cpu1, .*length"):
        modes_named(["cpuN", "gpu", "tpu"])


@pytest.mark.parametrize(
    ("device", "usual"),
    [
        ("cpu", ["cpuN", "cpu1", "paper", "window", "throughput"]),
        ("cuda", ["paper", "window", "throughput", "engine"]),
        ("cuda:1", ["paper", "window", "throughput", "engine"]),
    ],
)
def test_what_is_usual_depends_on_the_device(device: str, usual: list[str]) -> None:
    assert [mode.name for mode in modes_named(None, device)] == usual
    assert modes_named([], device) == modes_named(None, device)


@pytest.mark.parametrize(
    ("seconds", "columns", "label"),
    list(zip(WINDOWS, (2, 4, 8, 15), ("13.3", "26.7", "53.3", "100"), strict=True)),
)
def test_windows_are_exactly_the_columns_of_codes_that_they_say(
    published: ModelSpec, seconds: float, columns: int, label: str
) -> None:
    samples = _samples(seconds, published.sample_rate)
    assert published.latents(samples) == columns
    assert published.latents(samples + 1) == columns + 1  # there is no longer clip of so many
    assert f"{1000 * seconds:.3g}" == label


def test_windows_are_timed_each_way_apart() -> None:
    assert [(each.operation, each.seconds) for each in cases("window")] == [
        (operation, seconds) for seconds in WINDOWS for operation in ("encode", "decode")
    ]


@pytest.mark.parametrize("mode", ["throughput", "engine"])
def test_batches_and_engines_get_one_default_window(published: ModelSpec, mode: str) -> None:
    """Exactly one of the embedded model; the published one has a column more of context on each side."""
    embedded = Bundle.embedded().spec
    assert {latents(case.seconds, embedded) for case in cases(mode)} == {embedded.layout().length} == {418}
    assert published.layout().length == 420
    assert all(published.layout().single(latents(case.seconds, published)) for case in cases(mode))


def test_one_clip_is_timed_as_a_whole_and_each_way() -> None:
    clips = Clips(seconds=7.0)
    assert cases("cpuN", clips) == [Case(operation=each, seconds=7.0) for each in ("round_trip", "encode", "decode")]
    assert cases("cpu1", clips) == [Case(operation="round_trip", seconds=7.0)]


def test_utterances_are_the_users_where_there_are_any() -> None:
    clips = Clips(files=[("b.wav", 2.0), ("a.wav", 3.0)])
    assert cases("paper", clips) == [
        Case(operation="round_trip", seconds=2.0, file="b.wav"),
        Case(operation="round_trip", seconds=3.0, file="a.wav"),
    ]
    assert [case.file for case in cases("paper")] == [None] * 3


def test_a_device_gets_utterances_with_and_without_copies() -> None:
    found = cases("paper", Clips(device="cuda:0"))
    assert [case.copies for case in found] == [True] * 3 + [False] * 3
    assert [case.seconds for case in found[:3]] == [case.seconds for case in found[3:]]


def test_device_time_is_without_copies_by_the_devices_own_clock() -> None:
    assert {(case.copies, case.clock) for case in cases("engine")} == {(False, "device")}
    others = [case for name in NAMES if name != "engine" for case in cases(name)]
    assert {(case.copies, case.clock) for case in others} == {(True, "host")}


@pytest.mark.parametrize("name", [mode.name for mode in MODES if mode.growing])
def test_growing_cases_grow(name: str) -> None:
    sizes = [case.audio_seconds for case in cases(name)]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 3


@pytest.mark.parametrize("name", NAMES)
def test_quick_is_a_part_of_all(name: str) -> None:
    quick, full = cases(name, Clips(quick=True)), cases(name)
    assert quick
    assert [case for case in full if case in quick] == quick


@pytest.mark.parametrize("name", NAMES)
def test_no_case_is_timed_twice(name: str) -> None:
    found = cases(name, Clips(device="cuda"))
    assert len(set(found)) == len(found)
