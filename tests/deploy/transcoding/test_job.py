"""Folder runs: the same bytes in any company, every failure named, nothing half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy import Codec, EncodedAudio
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.transcoding import conversion
from apcodec_deploy.transcoding.conversion import ConversionOptions, convert
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.report import Outcome
from apcodec_deploy.transcoding.watch import Watch

Audio = NDArray[np.float32]
WAV = ConversionOptions(form=AudioFormat.of("wav"))
CODES = ConversionOptions(form=None)


def wav(path: Path, audio: Audio, rate: int = 48_000, subtype: str = "PCM_16") -> Path:
    """Write a clip, (N,) or (N, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def test_files_decode_to_what_arrays_decode_to(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    speech = speech[60_000:210_000]  # two windows
    source = wav(tmp_path / "a.wav", np.stack([speech, speech[::-1]], axis=1), 44_100, "FLOAT")
    convert(codec, source, tmp_path / "a.apc", CODES)
    encoded = codec.encode(np.stack([speech, speech[::-1]]), 44_100)
    np.testing.assert_array_equal(EncodedAudio.load(tmp_path / "a.apc").codes, encoded.codes)
    options = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"))
    convert(codec, tmp_path / "a.apc", tmp_path / "codes.wav", options)
    convert(codec, source, tmp_path / "audio.wav", options)
    for name in ("codes.wav", "audio.wav"):
        decoded, rate = soundfile.read(tmp_path / name, dtype="float32")
        assert rate == 44_100
        np.testing.assert_array_equal(decoded.T, codec.decode(encoded))


@pytest.mark.parametrize("to", ["wav", "flac", "ogg"])
def test_every_format_has_the_source_length_and_rate(codec: Codec, tmp_path: Path, speech: Audio, to: str) -> None:
    source = wav(tmp_path / "a.wav", speech[:20_011], 44_100)
    convert(codec, source, tmp_path / f"b.{to}", ConversionOptions(form=AudioFormat.of(to)))
    info = soundfile.info(tmp_path / f"b.{to}")
    assert (info.frames, info.samplerate, info.channels) == (20_011, 44_100, 1)


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


def test_codes_become_arrays_from_audio_and_from_codes(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    wav(tmp_path / "in" / "a.wav", np.stack([speech, speech[::-1]], axis=1), 44_100, "FLOAT")
    encoded = codec.encode(np.stack([speech, speech[::-1]]), 44_100)
    encoded.save(tmp_path / "in" / "b.apc")
    tasks = plan_folder(tmp_path / "in", tmp_path / "out", "npy")
    arrays = ConversionOptions(form=None, arrays=True)
    assert arrays.to == "npy"
    report = run(codec, tasks, arrays)
    assert [
        (result.converted.samples, result.converted.sample_rate) for result in report.results if result.converted
    ] == [(len(speech), 44_100)] * 2
    for name in ("a.wav.npy", "b.npy"):
        array = np.load(tmp_path / "out" / name)
        assert array.dtype == np.uint16
        np.testing.assert_array_equal(array, encoded.codes)


def test_salvage_silences_what_is_damaged(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    long = np.tile(speech, 3)[:720_000]
    encoded = codec.encode(long)
    encoded.save(tmp_path / "a.apc")
    data = bytearray((tmp_path / "a.apc").read_bytes())
    data[200] ^= 8
    (tmp_path / "a.apc").write_bytes(data)
    assert not run(codec, plan_folder(tmp_path / "a.apc", tmp_path / "out", "wav"), WAV).of(Outcome.DONE)
    salvage = ConversionOptions(form=AudioFormat.of("wav", "FLOAT"), salvage=True)
    converted = convert(codec, tmp_path / "a.apc", tmp_path / "a.wav", salvage)
    assert [(gap.start, gap.stop) for gap in converted.gaps] == [(0, 2048)]
    decoded, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert len(decoded) == len(long)
    assert not decoded[: 2048 * 320].any()
    intact = codec.decode(encoded)[2150 * 320 :]
    assert np.corrcoef(decoded[2150 * 320 :], intact)[0, 1] > 0.98


def test_clipped_samples_are_counted(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    wav(tmp_path / "in" / "loud.wav", 8 * speech[:48_000], subtype="FLOAT")
    tasks = plan_folder(tmp_path / "in", tmp_path / "out", "wav")
    report = run(codec, tasks, WAV)
    decoded = codec.decode(codec.encode(8 * speech[:48_000]))
    assert report.clipped == (np.abs(decoded) > 1).sum() > 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


_INTERRUPTED = """
import faulthandler, os, signal, sys, threading, time
from pathlib import Path
import apcodec_deploy
from apcodec_deploy.codec import Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, Progress, run

faulthandler.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
codec, heard, release = apcodec_deploy.load(), threading.Event(), threading.Event()


def interrupt(times):
    heard.wait()
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)


def job(codec, times):
    threading.Thread(target=interrupt, args=(times,), daemon=True).start()
    try:
        run(
            codec,
            plan_folder(Path("in"), Path("out"), "apc"),
            ConversionOptions(form=None),
            JobOptions(jobs=2),
            progress=Progress(heard=lambda seconds: heard.set()),
        )
    except KeyboardInterrupt:
        return
    sys.exit("the interrupt was not heard")

"""
"""Jobs that interrupt themselves, in a process of their own: a signal that comes late must not end the tests."""


def interrupted(folder: Path, script: str) -> None:
    """Run a script after ``_INTERRUPTED``, which must end well."""
    command = [sys.executable, "-c", _INTERRUPTED + script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_stops_all_jobs_and_leaves_nothing_half_written(tmp_path: Path, speech: Audio) -> None:
    for index in range(6):
        wav(tmp_path / "in" / f"{index}.wav", np.tile(speech, 4))
    interrupted(tmp_path, "job(codec, 1)")
    left = files(tmp_path / "out")
    assert len(left) < 6
    assert all(name.endswith(".wav.apc") for name in left)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("how", "to"),
    [
        (signal.SIGINT, "wav"),
        (signal.SIGTERM, "apc"),
        pytest.param(signal.SIGINT, "apc", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "wav", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "apc", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "wav", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_is_interrupted_says_so_and_cleans_up(
    tmp_path: Path, speech: Audio, how: signal.Signals, to: str
) -> None:
    wav(tmp_path / "in" / "a.wav", np.tile(speech, 20 if to == "apc" else 5))  # audio is begun when all is coded
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", "transcode", "in", "out", "--to", to]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "out").glob(".apcodec-*")):
        time.sleep(0.02)
    process.send_signal(how)
    assert process.stderr is not None
    with process.stderr:
        words = process.stderr.read()
    assert process.wait() == 128 + how
    assert "nothing is left half written" in words
    assert list(files(tmp_path / "out")) == ["manifest.jsonl"]


def test_a_second_interrupt_does_not_wait(tmp_path: Path, speech: Audio) -> None:
    """The first one waits for what is under way, here a codec that takes its time."""
    wav(tmp_path / "in" / "a.wav", speech)
    interrupted(
        tmp_path,
        """
class Slow:
    batch_limit, name, precision = 1, "slow", "float32"

    def encode(self, audio):
        heard.set()
        release.wait(60)
        return codec.backend.encode(audio)


begun = time.monotonic()
job(Codec(codec.bundle, Slow()), 2)
assert time.monotonic() - begun < 30
release.set()
while list(Path("out").iterdir()):  # what it was at is stopped and cleaned up after all
    assert time.monotonic() - begun < 60
    time.sleep(0.05)
""",
    )


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


def test_decoding_can_be_stopped_between_blocks(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    """Reading ends before decoding begins, so decoding must listen by itself."""
    source = wav(tmp_path / "a.wav", np.tile(speech, 3))
    heard: list[float] = []

    class Stop(Exception):
        pass

    def watch(seconds: float) -> None:
        heard.append(seconds)
        if sum(heard) > 0.6 * 3 * len(speech) / 48_000:
            raise Stop

    with pytest.raises(Stop):
        convert(codec, source, tmp_path / "b.wav", WAV, Watch(watch))
    assert not (tmp_path / "b.wav").exists()
    heard.clear()
    with pytest.raises(Stop):
        convert(codec, source, tmp_path / "b.wav", ConversionOptions(form=WAV.form, window=0.5), Watch(watch))


def test_what_a_format_cannot_hold_is_refused_before_coding(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    source = wav(tmp_path / "a.wav", np.stack([speech[:5000]] * 9, axis=1))
    heard: list[float] = []
    with pytest.raises(OutputError, match="9 channels"):
        convert(codec, source, tmp_path / "a.flac", ConversionOptions(form=AudioFormat.of("flac")), Watch(heard.append))
    assert heard == []


def test_a_clip_too_long_to_code_whole_is_not_read_to_its_end(codec: Codec, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", np.zeros(400 * 8000, np.float32), 8000)
    heard: list[float] = []
    with pytest.raises(AudioError, match="windows"):
        whole = ConversionOptions(form=None, window="whole")
        convert(codec, tmp_path / "a.wav", tmp_path / "a.apc", whole, Watch(heard.append))
    assert sum(heard) < 200
