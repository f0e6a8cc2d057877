"""From what a user asks for to a plan: commands in words, modes, utterances, references; no path in results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apcodec_benchmarks import requests
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import Case, ContenderRecord, Distribution, Timing
from apcodec_benchmarks.quality import QualityPlan
from apcodec_benchmarks.requests import (
    QualityRequest,
    SpeedRequest,
    WindowsRequest,
    audio_files,
    run_quality,
    run_speed,
    run_windows,
    utterances,
)
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.speed import Plan
from apcodec_deploy import Codec
from apcodec_deploy.errors import ApcodecError, BenchmarkError

Named = Callable[[str], Entry]
FACTS = Facts(title="A", library="none", sample_rate=16_000, bitrate=1.0, frame=1, weights="trained")


def results(timings: tuple[Timing, ...] = ()) -> Results:
    return Results(
        made="", command="", environment={}, settings={}, timings=timings,
        contenders=(ContenderRecord(name="a", facts=FACTS),),
    )  # fmt: skip


@pytest.fixture
def speed_plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that would have been measured."""
    found: list[Plan] = []

    def measured(plan: Plan, progress: object) -> Results:
        found.append(plan)
        cases = [case for mode in plan.modes for case in mode.cases(plan.clips)]
        made = (Timing(contender="a", mode="x", threads=1, case=case, times=Distribution((1.0,))) for case in cases)
        return results(tuple(made))

    monkeypatch.setattr(requests, "measure_speed", measured)
    return found


@pytest.fixture
def quality_plans(monkeypatch: pytest.MonkeyPatch) -> list[QualityPlan]:
    """The plans that would have been measured."""
    found: list[QualityPlan] = []

    def measured(plan: QualityPlan, **asked: object) -> Results:
        found.append(plan)
        return results()

    monkeypatch.setattr(requests, "measure_quality", measured)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of known length, one of them nested, one file that is no audio, and one that does not look like it."""
    folder = tmp_path / "my clips"
    (folder / "deep" / "er").mkdir(parents=True)
    soundfile.write(folder / "b.WAV", np.zeros(16_000), 16_000)
    soundfile.write(folder / "deep" / "er" / "a.flac", np.zeros((11_025, 2)), 22_050)
    (folder / "bad.wav").write_text("no audio")
    (folder / "notes.txt").write_text("no audio either")
    (folder / "folder.wav").mkdir()
    return folder


def test_the_command_of_speed_says_what_was_asked_for() -> None:
    assert SpeedRequest(threads=4).command == "apcodec bench rtf --seconds 10 --threads 4"
    full = SpeedRequest(
        threads=2, modes=["cpu1", "paper"], codecs=["apcodec", "mine:make"], seconds=2.5, device="cuda:1",
        precision="float16", quick=True,
    )  # fmt: skip
    assert full.command == (
        "apcodec bench rtf --mode cpu1 --mode paper --codecs apcodec,mine:make --seconds 2.5 --threads 2 "
        "--device cuda:1 --precision float16 --quick"
    )


def test_commands_hold_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "someone" / "secret"
    speed = SpeedRequest(
        threads=1, model=str(secret / "bundle"), checkpoint=secret / "weights", audio=secret / "audio", audiodec=secret
    )
    quality = QualityRequest(threads=1, folder=secret / "audio", model=str(secret / "bundle"), checkpoint=secret / "w")
    for command in (speed.command, quality.command):
        assert "someone" not in command and "/" not in command
        assert "--model bundle" in command
    assert quality.command.startswith("apcodec bench quality audio ")
    secret.mkdir(parents=True)
    monkeypatch.chdir(secret)
    assert QualityRequest(threads=1, folder=Path(".")).command == "apcodec bench quality secret"


def test_quick_picks_from_the_usual_modes_and_shortens(speed_plans: list[Plan]) -> None:
    for device in ("cpu", "cuda"):
        run_speed(SpeedRequest(threads=1, model="demo", device=device, quick=True))
    assert [[mode.name for mode in plan.modes] for plan in speed_plans] == [["cpuN", "window"], ["window", "engine"]]
    assert {plan.clips.seconds for plan in speed_plans} == {2.5}


def test_quick_leaves_modes_that_were_named_and_short_clips_alone(speed_plans: list[Plan]) -> None:
    run_speed(SpeedRequest(threads=1, model="demo", modes=["paper"], seconds=0.5, quick=True))
    (plan,) = speed_plans
    assert [mode.name for mode in plan.modes] == ["paper"]
    assert plan.clips.seconds == 0.5


def test_one_mode_gets_more_time_than_all_of_them(speed_plans: list[Plan]) -> None:
    for modes, quick in ((["cpu1"], False), (None, False), (None, True)):
        run_speed(SpeedRequest(threads=1, model="demo", modes=modes, quick=quick))
    seconds = [plan.schedule.seconds for plan in speed_plans]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == 3
    run_speed(SpeedRequest(threads=1, model="demo", modes=["cpu1"], brief=True))
    assert speed_plans[3].schedule == speed_plans[1].schedule
    assert speed_plans[3].command.endswith("--threads 1 --brief")


@pytest.mark.parametrize("asked", [{"modes": ["gpu"]}, {"codecs": ["mp3"]}])
def test_what_is_unknown_is_refused_before_a_model_is_made(
    asked: dict[str, list[str]], speed_plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "model_of", None)
    with pytest.raises(BenchmarkError, match="is called"):
        run_speed(SpeedRequest(threads=1, **asked))  # type: ignore[arg-type]
    assert not speed_plans


@pytest.mark.parametrize("asked", [{"metrics": ["loudness"]}, {"codecs": ["mp3"]}])
def test_an_unknown_metric_or_codec_is_refused_before_a_model_is_made(
    asked: dict[str, list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "model_of", None)
    with pytest.raises(BenchmarkError, match="is called"):
        run_quality(QualityRequest(threads=1, folder=folder, **asked))  # type: ignore[arg-type]


def test_utterances_are_the_files_that_can_be_read_with_their_seconds(folder: Path) -> None:
    found, skipped = utterances(folder)
    assert found == [
        (str((folder / "b.WAV").resolve()), 1.0),
        (str((folder / "deep" / "er" / "a.flac").resolve()), 0.5),
    ]
    assert all(str(folder) not in reason for reason in skipped)
    assert len(skipped) == len(audio_files(folder)) - len(found)


def test_a_folder_of_bad_files_is_refused_with_every_reason(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.flac").write_bytes(b"")
    with pytest.raises(BenchmarkError, match=r"empty\.flac .*it is empty; .*text\.wav cannot be read as audio"):
        utterances(tmp_path)


@pytest.mark.parametrize("run", ["utterances", "speed", "quality", "windows"])
def test_a_folder_without_audio_is_refused(run: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    does = {
        "utterances": lambda: utterances(tmp_path),
        "speed": lambda: run_speed(SpeedRequest(threads=1, model="demo", audio=tmp_path)),
        "quality": lambda: run_quality(QualityRequest(threads=1, folder=tmp_path)),
        "windows": lambda: run_windows(WindowsRequest(threads=1, folder=tmp_path)),
    }
    with pytest.raises(BenchmarkError, match=r"holds no audio files; expected .*\.wav"):
        does[run]()


def test_every_suffix_that_can_be_read_counts_whatever_its_case(tmp_path: Path) -> None:
    names = ["a.AIF", "b.Wave", "c.oga", "d.wav"]
    for name in (*names, "e.apc", "f.wav.bak"):
        (tmp_path / name).touch()
    assert [path.name for path in audio_files(tmp_path)] == names


def test_timings_name_utterances_below_their_folder(folder: Path, speed_plans: list[Plan]) -> None:
    found = run_speed(SpeedRequest(threads=1, model="demo", modes=["paper", "cpu1"], audio=folder))
    assert [case.file for mode in speed_plans[0].modes for case in mode.cases(speed_plans[0].clips)][1] == str(
        (folder / "b.WAV").resolve()
    )  # what is timed is found from anywhere
    assert [each.case.file for each in found.timings] == [None, "b.WAV", "deep/er/a.flac"]
    assert str(folder.parent) not in json.dumps(found.to_dict())


def test_every_apcodec_is_compared_with_onnx_runtime_in_the_same_windows(
    folder: Path, quality_plans: list[QualityPlan]
) -> None:
    codecs = ["apcodec", "apcodec-whole", "apcodec-plain", "apcodec-tensorrt", "apcodec-pytorch", "opus"]
    run_quality(QualityRequest(threads=1, folder=folder, codecs=codecs))
    (plan,) = quality_plans
    assert {name: entry.name for name, entry in plan.references.items()} == {
        "apcodec": "apcodec",
        "apcodec-plain": "apcodec",
        "apcodec-tensorrt": "apcodec",
        "apcodec-whole": "apcodec-whole",
        "apcodec-pytorch": "apcodec-whole",
    }
    assert [path.name for path in plan.files] == ["b.WAV", "bad.wav", "a.flac"]


def test_other_models_are_contenders_beside_the_first(
    folder: Path, quality_plans: list[QualityPlan], codec: Codec
) -> None:
    beside = [str(codec.bundle.path)]
    request = QualityRequest(threads=1, folder=folder, codecs=["apcodec"], beside=beside)
    run_quality(request)
    (plan,) = quality_plans
    assert [entry.name for entry in plan.entries] == ["apcodec", "apcodec demo"]
    assert list(plan.references) == ["apcodec"], "the codes of another model say nothing about this one's"
    contender = plan.entries[1].make(replace(plan.settings, model=None, options=plan.entries[1].options))
    assert contender.facts.title.startswith("APCodec, demo, ONNX Runtime")
    assert contender.facts.weights_hash == codec.fingerprint[:16]
    assert request.command.endswith("--beside demo")
    with pytest.raises(BenchmarkError, match="two bundles alike"):
        run_quality(replace(request, beside=beside * 2))
    with pytest.raises(ApcodecError):
        run_quality(replace(request, beside=[str(folder)]))


def test_other_models_are_timed_in_every_way_that_was_named(speed_plans: list[Plan], streamable_bundle: Path) -> None:
    codecs = ["apcodec", "apcodec-int8", "opus"]
    request = SpeedRequest(threads=1, modes=["cpu1"], codecs=codecs, model="demo", beside=[str(streamable_bundle)])
    run_speed(request)
    run_speed(replace(request, codecs=["opus"]))
    named, unnamed = ([entry.name for entry in plan.entries] for plan in speed_plans)
    name = streamable_bundle.name
    assert named == [*codecs, f"apcodec {name}", f"apcodec-int8 {name}"]
    assert unnamed == ["opus", f"apcodec {name}"]
    integers = speed_plans[0].entries[-1]
    assert (integers.options["precision"], integers.options["model"]) == ("int8", str(streamable_bundle))
    assert f"--beside {name} " in request.command


def test_a_window_sweep_does_not_begin_with_a_file_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ApcodecError, match=r"bad\.wav cannot be read as audio"):
        run_windows(WindowsRequest(threads=1, folder=folder))


def test_what_a_window_could_not_do_in_time_is_kept(
    folder: Path, quality_plans: list[QualityPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.wav").unlink()
    failed = ContenderRecord(name="a", facts=FACTS, failures=("paper: out of memory",))
    case = Case(operation="round_trip", seconds=1.0, file="/somewhere/joined.wav")
    timing = Timing(contender="a", mode="paper", threads=1, case=case, times=Distribution((1.0,)))

    def measured(plan: Plan, progress: object) -> Results:
        return Results(made="", command="", environment={}, settings={}, contenders=(failed,), timings=(timing,))

    monkeypatch.setattr(requests, "measure_speed", measured)
    found = run_windows(WindowsRequest(threads=1, folder=folder))
    assert found.contenders[0].failures == ("paper: out of memory",)
    assert found.timings[0].case.file == "joined.wav"
    assert quality_plans[0].command == "apcodec bench windows my clips --seconds 60"
