"""``apcodec bench`` as a user types it: what its commands print, write, refuse and return."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import benchmark_stand_ins
import pytest
import soundfile
from benchmark_commands import bench, refused, speed
from benchmark_plot_results import record, sweep
from benchmark_plot_results import results as made_results
from typer.testing import Result

from apcodec_benchmarks import requests
from apcodec_benchmarks.measurements import Quality
from apcodec_benchmarks.report.tables import markdown
from apcodec_benchmarks.requests import SpeedRequest, WindowsRequest
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import OutputError

COMMANDS = ("rtf", "stream", "quality", "windows", "compare", "table")
SLEEPER, ABSENT = "benchmark_stand_ins:Sleeper", "benchmark_stand_ins:absent"
COST = benchmark_stand_ins.ENCODE + benchmark_stand_ins.DECODE


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins to measure fails."""
    for name in ("measure_speed", "measure_quality"):
        monkeypatch.setattr(requests, name, None)


@pytest.fixture
def clips(tmp_path: Path, examples: Path) -> Path:
    """A folder with a second and a half of speech."""
    folder = tmp_path / "clips"
    folder.mkdir()
    audio, rate = soundfile.read(examples / "speech_female_48k.wav")
    soundfile.write(folder / "female.wav", audio[rate : rate * 5 // 2], rate)
    return folder


def test_the_help_lists_the_six_commands() -> None:
    listed = bench("--help")
    assert listed.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in listed.stdout
        answer = bench(command, "--help")
        assert answer.exit_code == 0
        assert "Usage" in answer.stdout


def test_wrong_usage_is_exit_code_2() -> None:
    assert bench("frobnicate").exit_code == 2
    assert bench("quality").exit_code == 2
    assert bench("rtf", "--seconds", "0").exit_code == 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """One quick run of a codec of known cost and one that is not here."""
    out = tmp_path_factory.mktemp("bench") / "new" / "f.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", benchmark_stand_ins.PATH)
        arguments = ("--model", "demo", "--mode", "cpuN", "--threads", 2, "--quick", "--out", out)
        return bench("rtf", "--codecs", f"{SLEEPER},{ABSENT}", *arguments), out


def test_rtf_prints_all_contenders_and_writes_what_it_printed(measured: tuple[Result, Path]) -> None:
    answer, out = measured
    assert answer.exit_code == 0, answer.output
    results = Results.read(out)
    assert [each.name for each in results.contenders] == [SLEEPER, ABSENT]
    trip = next(each for each in results.timings if each.case.operation == "round_trip")
    assert COST <= min(trip.times.values) / 2.5 <= 1.4 * COST
    assert answer.stdout == markdown(results)
    assert f"- {ABSENT} did not run: it needs something that is not here: get it\n" in answer.stdout
    assert "| Stand-in | 0.0" in answer.stdout
    assert answer.stderr == f"results: {out}\n"


def test_rtf_says_what_was_asked_for(measured: tuple[Result, Path]) -> None:
    assert Results.read(measured[1]).command == (
        f"apcodec bench rtf --mode cpuN --codecs {SLEEPER},{ABSENT} --model demo --seconds 10 --threads 2 --quick"
    )


def test_json_is_all_that_is_printed_where_it_is_asked_for(tmp_path: Path, clips: Path) -> None:
    options = ("--codecs", "benchmark_stand_ins:StandIn", "--metrics", "snr", "--json", "--out", tmp_path / "q.json")
    answer = bench("quality", clips, *options)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout) == json.loads((tmp_path / "q.json").read_text(encoding="utf-8"))


def test_stream_prints_and_writes_what_it_measured(streamable_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    codec = "benchmark_stand_ins:Live"
    options = ("--tokens", 1, "--threads", 1, "--quick", "--soak", 100, "--out", out, "--plots", tmp_path / "plots")
    answer = bench("stream", "--model", streamable_bundle, "--codecs", codec, *options)
    assert answer.exit_code == 0, answer.output
    results = Results.read(out)
    assert {each.mode for each in results.timings} == {"push", "sessions", "soak"}
    assert answer.stdout == markdown(results)
    assert results.command == (
        f"apcodec bench stream --codecs {codec} --model {streamable_bundle.name} --tokens 1 --threads 1 --soak 100 "
        "--quick"
    )
    assert (tmp_path / "plots" / "streams.svg").is_file()


def test_rtf_tells_what_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[SpeedRequest] = []

    def run(request: SpeedRequest, progress: object) -> Results:
        asked.append(request)
        return speed()

    monkeypatch.setattr(requests, "run_speed", run)
    answer = bench(
        "rtf", "--mode", "cpu1,paper", "--mode", "length", "-c", "opus", "-c", " mimi , dac-44k", "--seconds", 2,
        "--threads", 3, "--device", "cuda:1", "--precision", "float16", "--audio", tmp_path, "--trained",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert asked == [
        SpeedRequest(
            threads=3, modes=["cpu1", "paper", "length"], codecs=["opus", "mimi", "dac-44k"], seconds=2.0,
            device="cuda:1", precision="float16", audio=tmp_path, trained=True,
        )
    ]  # fmt: skip


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rtf", "--mode", "gpu", "--model", "demo"), "no mode is called gpu; there are: cpuN"),
        (("rtf", "--codecs", "opus,mp3", "--model", "demo"), "no contender is called mp3; there are: apcodec"),
        (("rtf", "--audio", "nowhere", "--model", "demo"), "nowhere is not a folder"),
        (("quality", "nowhere"), "nowhere is not a folder"),
        (("quality", "nowhere", "--codecs", "mp3"), "no contender is called mp3"),
        (("quality", "nowhere", "--metrics", "loudness"), "no metric is called loudness"),
        (("quality", "nowhere", "--fail-below", "stoi"), "'stoi' is no limit"),
        (("quality", "nowhere", "--speed", "nothing.json"), "nothing.json cannot be read as results"),
        (("windows", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_what_is_unknown_or_not_there_is_refused_before_any_work(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(bench(*arguments))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "arguments", [("rtf", "--out"), ("quality", "x", "--out"), ("quality", "x", "--html"), ("windows", "x", "--out")]
)
def test_what_exists_is_refused_before_any_work(arguments: tuple[str, ...], tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    assert f"{there} exists; --overwrite replaces it" in refused(bench(*arguments, there))
    assert there.read_text() == "mine"
    assert "is a folder" in refused(bench(*arguments, tmp_path, "--overwrite"))


def test_overwrite_replaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requests, "run_speed", lambda request, progress: speed())
    there = tmp_path / "there.json"
    there.write_text("mine")
    assert bench("rtf", "--out", there, "--overwrite").exit_code == 0
    assert Results.read(there) == speed()


def test_what_was_measured_is_not_lost_where_a_plot_cannot_be_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(requests, "run_speed", lambda request, progress: speed())
    drawn = bench("rtf", "--plots", tmp_path)
    assert drawn.exit_code == 0
    assert f"plot: {tmp_path / 'rtf.svg'}" in drawn.stderr
    again = bench("rtf", "--plots", tmp_path)
    assert isinstance(again.exception, OutputError)
    assert again.stdout == drawn.stdout == markdown(speed())


def test_an_error_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", "bench", "rtf", "--mode", "gpu"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: no mode is called gpu")
    assert answer.stderr.count("\n") == 1


def test_a_gate_that_is_not_kept_is_exit_code_1_with_the_reason(clips: Path, tmp_path: Path) -> None:
    """Nothing reaches an STOI of 2."""
    out = tmp_path / "q.json"
    answer = bench("quality", clips, "--codecs", "apcodec", "--metrics", "stoi", "--fail-below", "stoi=2", "--out", out)
    assert answer.exit_code == 1
    results = Results.read(out)
    (row,) = results.quality
    assert list(row.metrics) == ["stoi"]
    assert f"error: apcodec: stoi is {row.metrics['stoi']:.4g}; at least 2 is expected\n" in answer.stderr
    assert answer.stdout == markdown(results)


@pytest.mark.parametrize("limits", [(), ("--fail-below", "stoi=-1")])
def test_without_a_gate_or_with_one_that_is_kept_all_is_well(
    limits: tuple[str, ...], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Quality(contender="apcodec", file="x", seconds=1.0, metrics={"stoi": 0.5})
    found = replace(made_results(record("apcodec")), quality=(row,))
    monkeypatch.setattr(requests, "measure_quality", lambda plan, **asked: found)
    assert bench("quality", clips, "--codecs", "apcodec", *limits).exit_code == 0


def test_a_bad_file_is_exit_code_1_but_the_rest_is_measured_and_can_be_heard(clips: Path, tmp_path: Path) -> None:
    (clips / "bad.wav").write_text("no audio")
    page, out = tmp_path / "page.html", tmp_path / "q.json"
    answer = bench(
        "quality", clips, "--codecs", "apcodec,benchmark_stand_ins:Quieter", "--html", page, "--out", out,
        "--clip-seconds", 0.5,
    )  # fmt: skip
    assert answer.exit_code == 1
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(" cannot be read as audio")[0] for line in errors] == [
        "error: apcodec: bad.wav: bad.wav",
        "error: benchmark_stand_ins:Quieter: bad.wav: bad.wav",
    ]
    good = {row.contender: row for row in Results.read(out).quality if row.problem is None}
    assert set(good) == {"apcodec", "benchmark_stand_ins:Quieter"}
    assert good["benchmark_stand_ins:Quieter"].metrics["snr"] == pytest.approx(6.0, abs=0.5)
    assert good["apcodec"].against is None  # float32 on the CPU is what others are compared with
    text = page.read_text(encoding="utf-8")
    assert "female.wav" in text and "0.50 s at 48 kHz" in text
    assert text.count("data:audio/flac") == 3


def test_windows_are_swept_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[WindowsRequest] = []
    found = replace(sweep("0.17 s", "whole"))

    def run(request: WindowsRequest, progress: object) -> Results:
        asked.append(request)
        return found

    monkeypatch.setattr(requests, "run_windows", run)
    options = ("--seconds", 30, "--threads", 1, "--quick", "--plots", tmp_path / "plots")
    answer = bench("windows", tmp_path, "-m", "x", *options)
    assert answer.exit_code == 0, answer.output
    assert asked == [WindowsRequest(folder=tmp_path, threads=1, model="x", seconds=30.0, quick=True)]
    assert answer.stdout == markdown(found)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["windows.svg"]
