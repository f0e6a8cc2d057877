"""What somebody sees who tries the tool for the first time: the greeting, doctor, the end of transcode."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import soundfile
from commands import apcodec
from import_graph import ROOT
from typer.testing import Result

from apcodec_deploy.cli.finding import Finding, State
from apcodec_deploy.cli.units import counted, duration, size, times

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (0.7418, "0.742 s"), (19.4, "19.4 s"), (119, "119 s"), (750, "12.5 min"), (12_240, "3.4 h")],
)
def test_a_length_of_time_has_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_figures_read_as_people_write_them() -> None:
    assert [size(count) for count in (812, 9_130, 999_600, 1_058_444)] == [
        "812 bytes",
        "9.13 kB",
        "1,000 kB",
        "1.06 MB",
    ]
    assert duration(36_000_000) == "10,000.0 h"
    assert [counted(1, "file"), counted(2_000, "file")] == ["1 file", "2,000 files"]
    assert [times(7.17), times(99.96), times(1234.5)] == ["7.2 times", "100 times", "1,234 times"]


def test_the_greeting_names_commands_that_exist() -> None:
    greeted = apcodec()
    assert greeted.exit_code == 0
    lines = [line.split()[1] for line in greeted.stdout.splitlines() if line.startswith("  apcodec ")]
    assert lines == ["doctor", "transcode", "encode", "decode", "export"]
    assert all(apcodec(name, "--help").exit_code == 0 for name in lines)
    assert max(map(len, greeted.stdout.splitlines())) <= 80


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The starts of two examples through the codec: the folder that they are in, and what was said."""
    folder = tmp_path_factory.mktemp("first minute")
    (folder / "in").mkdir()
    for name, seconds in (("speech_german_22k.wav", 2), ("speech_male_44k.flac", 1)):
        audio, rate = soundfile.read(EXAMPLES / name)
        soundfile.write(folder / "in" / name, audio[: seconds * rate], rate)
    return folder, apcodec("transcode", folder / "in", folder / "out")


def test_transcode_ends_with_a_pair_to_listen_to_and_the_next_command(converted: tuple[Path, Result]) -> None:
    folder, answer = converted
    first, *others = answer.stdout.splitlines()
    assert re.fullmatch(r"2 files done: 3 s of audio in \S+ s, \S+ times real time", first)
    assert others == [
        "Listen to one of them, 6 kbit/s per channel:",
        f"  before  {folder / 'in' / 'speech_german_22k.wav'}",
        f"  after   {folder / 'out' / 'speech_german_22k.wav'}",
        "This was the small demo model. Next, take your own checkpoint:",
        "  apcodec export CHECKPOINT_DIR my-bundle",
    ]
    assert all(Path(line.split(maxsplit=1)[1]).is_file() for line in others[1:3])


def test_a_second_call_says_why_nothing_was_done(converted: tuple[Path, Result]) -> None:
    folder, _ = converted
    again = apcodec("transcode", folder / "in", folder / "out")
    held = f"{folder / 'out'} holds these results already. --overwrite makes them anew."
    assert again.stdout.splitlines() == ["2 files skipped", held]


def test_the_next_command_works_as_it_is_printed(converted: tuple[Path, Result]) -> None:
    folder, _ = converted
    model = shutil.copytree(ROOT / "apcodec_deploy" / "bundles" / "demo", folder / "my bundle")
    arguments: list[object] = ["transcode", folder / "in", folder / "codes 1", "--to", "apc", "--model", model]
    *_, codes, advice, command = apcodec(*arguments).stdout.splitlines()
    assert codes.startswith("  codes   ") and codes.endswith("speech_german_22k.wav.apc  (1.57 kB)")
    assert advice == "Next, check all of them, now or at any later time:"
    assert apcodec(*shlex.split(command)[1:]).stdout.startswith("2 files checked, 0 problems")
    *_, listen = apcodec("transcode", folder / "codes 1", folder / "back", "--model", model).stdout.splitlines()
    assert Path(listen.strip()).is_file()


def test_doctor_says_first_whether_the_machine_is_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = apcodec("doctor")
    assert answer.stdout.splitlines()[0].startswith("Ready: this machine turns audio into codes and back.")
    assert "missing" not in answer.stdout
    broken = apcodec("doctor", "--model", tmp_path)
    assert broken.stdout.splitlines()[0] == "Not ready: this machine cannot code audio. Broken: model."
    fault = Finding("openvino", State.BROKEN, "does not load", essential=False)
    monkeypatch.setattr("apcodec_deploy.cli.doctor._openvino", lambda bundle: fault)
    half = apcodec("doctor")
    assert half.exit_code == 0
    assert half.stdout.splitlines()[0].endswith("Optional parts are broken: openvino.")


def test_doctor_calls_parts_optional_and_says_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apcodec_deploy.cli.doctor.version_of", lambda name: None)
    text = apcodec("doctor").stdout
    assert "Faster on a CPU (optional)" in text
    for extra in ("openvino", "export", "bench", "train", "serve", "av", "parquet", "ray"):
        assert re.search(rf"optional  {extra} .*pip install 'apcodec-deploy\[{extra}\]'", text)
    found = json.loads(apcodec("doctor", "--json").stdout)
    assert {each["state"] for each in found} <= set(State)
    assert {each["purpose"] for each in found if each["essential"]} == {"Audio to codes and back"}
