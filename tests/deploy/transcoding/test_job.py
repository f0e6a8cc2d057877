"""Folder runs: the same bytes in any company, every failure named, nothing out of place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import CODES, WAV, Audio, files, wav

from apcodec_deploy import Codec
from apcodec_deploy.transcoding import conversion
from apcodec_deploy.transcoding.conversion import ConversionOptions, convert
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.report import Outcome


@pytest.mark.slow
def test_a_file_codes_to_the_same_bytes_alone_in_company_and_with_two_jobs(
    codec: Codec, tmp_path: Path, speech: Audio
) -> None:
    source = tmp_path / "in"
    lengths = np.random.default_rng(0).integers(1, 9000, 50)
    for index, length in enumerate(lengths):
        start = 3000 * (index + 1)
        wav(
            source / f"{index % 7}" / f"{index}.wav",
            speech[start : start + length],
            (48_000, 44_100, 16_000)[index % 3],
        )
    wav(source / "long.wav", speech)
    made = {}
    for jobs in (1, 2):
        output = tmp_path / f"out{jobs}"
        report = run(codec, plan_folder(source, output, "apc"), CODES, JobOptions(jobs=jobs))
        assert len(report.of(Outcome.DONE)) == 51
        made[jobs] = files(output)
    assert made[1] == made[2]
    for name in ("3/3.wav", "0/49.wav", "long.wav"):
        convert(codec, source / name, tmp_path / "alone.apc", ConversionOptions(form=None, overwrite=True))
        assert (tmp_path / "alone.apc").read_bytes() == made[1][f"{name}.apc"]


def test_bad_files_are_listed_and_the_rest_is_done(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    source = tmp_path / "in"
    good = wav(source / "good.wav", speech[:5000])
    (source / "empty.wav").write_bytes(b"")
    (source / "text.wav").write_text("not audio\n" * 100)
    (source / "cut.wav").write_bytes(good.read_bytes()[:3000])
    (source / "codes.apc").write_bytes(b"\x89APC")
    (source / "folder.wav").mkdir()
    wav(source / "nan.wav", np.array([0.0, np.nan, 0.5], np.float32), subtype="FLOAT")
    wav(source / "none.wav", np.zeros(0, np.float32))
    (source / "dangling.wav").symlink_to(tmp_path / "nowhere")
    os.mkfifo(source / "pipe.wav")
    report = run(codec, plan_folder(source, tmp_path / "out", "wav"), WAV, JobOptions(jobs=2))
    reasons = {result.task.source.name: str(result.reason) for result in report.of(Outcome.FAILED)}
    words = {
        "empty.wav": "empty",
        "text.wav": "cannot be read as audio",
        "cut.wav": "cut",
        "codes.apc": "ends inside its header",
        "nan.wav": "sample 1 of channel 0 is nan",
        "none.wav": "no samples",
        "dangling.wav": "No such file",
        "pipe.wav": "no regular file",
    }
    assert reasons.keys() == words.keys()
    for name, word in words.items():
        assert word in reasons[name] and name in reasons[name]
    assert list(files(tmp_path / "out")) == ["good.wav"]


def test_existing_outputs_are_left_alone_unless_told_otherwise(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    wav(tmp_path / "in" / "a.wav", speech[:5000])
    tasks = plan_folder(tmp_path / "in", tmp_path / "out", "wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.wav").write_text("mine")
    assert run(codec, tasks, WAV, JobOptions(skip_existing=True)).of(Outcome.SKIPPED)
    assert run(codec, tasks, WAV).of(Outcome.FAILED)
    assert (tmp_path / "out" / "a.wav").read_text() == "mine"
    replace = ConversionOptions(form=WAV.form, overwrite=True)
    assert run(codec, tasks, replace, JobOptions(skip_existing=True)).of(Outcome.DONE)
    assert soundfile.info(tmp_path / "out" / "a.wav").frames == 5000


def test_codes_of_this_model_are_copied_and_others_are_refused(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    source = tmp_path / "in"
    source.mkdir()
    codec.encode(speech[:9000]).save(source / "a.apc")
    foreign = bytearray((source / "a.apc").read_bytes())
    foreign[-1] ^= 1
    (source / "b.apc").write_bytes(foreign)
    report = run(codec, plan_folder(source, tmp_path / "out", "apc"), CODES)
    assert [str(result.outcome) for result in report.results] == ["done", "failed"]
    assert files(tmp_path / "out") == {"a.apc": (source / "a.apc").read_bytes()}


def test_names_are_what_they_are(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    source = tmp_path / "in"
    names = [
        "-rf.wav",
        " sp ace .wav",
        "ünï.wav",
        "new\nline.wav",
        "quo'te\".wav",
        "per%cent.wav",
        "%2E.wav",
        "…/deep.wav",
    ]
    names.append(os.fsdecode(b"caf\xe9.wav"))
    for name in names:
        (source / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        wav(tmp_path / "clip.wav", speech[:5000]).rename(source / "x" / name)
    (source / "loop").symlink_to(source)
    (source / "empty").mkdir()
    report = run(codec, plan_folder(source, tmp_path / "out", "apc"), CODES, JobOptions(jobs=2))
    assert not report.of(Outcome.FAILED)
    assert sorted(files(tmp_path / "out")) == sorted(f"x/{name}.apc" for name in names)


def test_nothing_is_written_out_of_the_output_folder(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    for name in ("a/1.wav", "b/2.wav", "3.wav"):
        wav(tmp_path / "in" / name, speech[:5000])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "3.wav.apc").symlink_to(tmp_path / "elsewhere" / "3")
    report = run(codec, plan_folder(tmp_path / "in", tmp_path / "out", "apc"), CODES)
    assert [str(result.outcome) for result in report.results] == ["failed", "failed", "done"]
    assert "through a link" in str(report.results[1].reason)
    assert files(tmp_path / "elsewhere") == {}


def test_a_bug_in_one_conversion_is_one_failure(
    codec: Codec, tmp_path: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "b.wav"):
        wav(tmp_path / "in" / name, speech[:5000])
    genuine = conversion.open_audio

    def broken(path: Path) -> object:
        if path.name == "a.wav":
            raise ZeroDivisionError("oops")
        return genuine(path)

    monkeypatch.setattr(conversion, "open_audio", broken)
    report = run(codec, plan_folder(tmp_path / "in", tmp_path / "out", "apc"), CODES)
    assert [str(result.outcome) for result in report.results] == ["failed", "done"]
    assert "internal error" in str(report.results[0].reason)
