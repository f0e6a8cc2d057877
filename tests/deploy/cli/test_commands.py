"""The commands as a user types them: what they print, write and return."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec, apcodec_process

from apcodec_deploy import Codec, EncodedAudio, __version__
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.errors import ApcodecError, DeviceError

COMMANDS = (
    *("bench", "build", "concat", "decode", "doctor", "encode", "export", "inspect", "pack", "slice", "transcode"),
    "train",
    "verify",
)


def has_driver() -> bool:
    """Whether what needs a GPU may work here."""
    try:
        driver_library()
    except DeviceError:
        return False
    return True


def test_every_command_has_help() -> None:
    listed = apcodec("--help")
    assert listed.exit_code == 0
    for command in COMMANDS:
        assert command in listed.stdout
        answer = apcodec(command, "--help")
        assert answer.exit_code == 0
        assert "Usage" in answer.stdout


def test_the_version_is_the_packages() -> None:
    assert __version__ in apcodec("--version").stdout


def test_unknown_commands_and_options_are_wrong_usage() -> None:
    assert apcodec("frobnicate").exit_code == 2
    assert apcodec("encode").exit_code == 2
    assert apcodec("encode", "a.wav", "--frobnicate").exit_code == 2


def test_encode_then_decode_beside_the_source(clip: Path) -> None:
    assert apcodec("encode", clip).exit_code == 0
    assert apcodec("decode", f"{clip}.apc").exit_code == 0
    assert soundfile.info(f"{clip}.wav").frames == 24_123
    again = apcodec("decode", f"{clip}.apc", "--to", "flac")
    assert again.exit_code == 1
    assert "exists" in again.stderr


def test_where_outputs_go(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.flac"
    other.write_bytes(clip.read_bytes())
    assert apcodec("encode", clip, "-o", tmp_path / "named.apc").exit_code == 0
    assert apcodec("encode", clip, other, "-o", tmp_path / "folder").exit_code == 0
    assert apcodec("encode", clip, "-o", f"{tmp_path}/one/").exit_code == 0
    assert apcodec("decode", tmp_path / "named.apc", "-o", tmp_path / "out.ogg").exit_code == 0
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"a.flac.apc", "b.flac.apc"}
    assert (tmp_path / "one" / "a.flac.apc").read_bytes() == (tmp_path / "named.apc").read_bytes()
    assert soundfile.info(tmp_path / "out.ogg").format == "OGG"


def test_several_inputs_of_one_name_are_both_refused(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.flac").write_bytes(clip.read_bytes())
    answer = apcodec("encode", clip, tmp_path / "sub" / "a.flac", "-o", tmp_path / "out")
    assert answer.exit_code == 1
    assert answer.stderr.count("would hold this file and") == 2
    assert not (tmp_path / "out").exists()


def test_the_wrong_kind_of_input_is_named(clip: Path, tmp_path: Path) -> None:
    assert "is not a .apc file" in apcodec("decode", clip).stderr
    assert "is a folder" in apcodec("encode", tmp_path).stderr
    apcodec("encode", clip)
    assert "holds codes already" in apcodec("encode", f"{clip}.apc").stderr
    assert "No such file" in apcodec("encode", tmp_path / "none.wav").stderr


def test_a_stream_is_coded_from_standard_input_to_standard_output(tmp_path: Path, examples: Path) -> None:
    audio, rate = soundfile.read(examples / "speech_female_48k.wav", stop=60_000)
    soundfile.write(tmp_path / "a.wav", audio, rate)
    wav = bytearray((tmp_path / "a.wav").read_bytes())
    data = wav.index(b"data") + 4
    wav[4:8] = wav[data : data + 4] = b"\xff\xff\xff\xff"  # as ffmpeg writes into a pipe
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", "encode", "-"]
    piped = subprocess.run([*command, "-o", "-"], input=wav, capture_output=True, check=True, cwd=tmp_path)
    assert piped.stderr == b"1.250 s of audio coded\n"
    subprocess.run([*command, "-o", "b.apc"], input=wav, capture_output=True, check=True, cwd=tmp_path)
    assert (tmp_path / "b.apc").read_bytes() == piped.stdout
    apcodec("encode", tmp_path / "a.wav", "-o", tmp_path / "c.apc")
    found, expected = EncodedAudio.load(tmp_path / "b.apc"), EncodedAudio.load(tmp_path / "c.apc")
    assert found.header.trailer and found.samples == expected.samples
    assert (found.codes == expected.codes).all()
    bad = subprocess.run([*command, "-o", "-"], input=b"hello", capture_output=True, check=False, cwd=tmp_path)
    assert bad.returncode == 1 and b"as audio from a pipe" in bad.stderr and not bad.stdout
    assert "one input" in str(apcodec("encode", "-", "x.wav", "-o", "-").exception)


def test_subtypes_are_checked_before_anything_is_done(clip: Path, tmp_path: Path) -> None:
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "flac", "--subtype", "FLOAT")
    assert isinstance(answer.exception, ApcodecError)
    assert "PCM_24" in str(answer.exception)
    assert apcodec("transcode", tmp_path, tmp_path / "out", "--subtype", "pcm_24").exit_code == 0
    assert soundfile.info(tmp_path / "out" / "a.flac.wav").subtype == "PCM_24"


def test_a_suffix_that_cannot_be_written_is_refused(clip: Path, tmp_path: Path) -> None:
    apcodec("encode", clip)
    answer = apcodec("decode", f"{clip}.apc", "-o", tmp_path / "b.mp3")
    assert "no format is called 'mp3'" in str(answer.exception)
    assert apcodec("decode", f"{clip}.apc", "-o", tmp_path / "b.mp3", "--to", "wav").exit_code == 0


def test_a_bad_option_is_one_error_not_one_per_file(clip: Path) -> None:
    assert "a window of '0'" in str(apcodec("encode", clip, clip, "--window", "0").exception)


def test_windows_are_stored(clip: Path) -> None:
    apcodec("encode", clip, "--window", "whole")
    assert EncodedAudio.load(f"{clip}.apc").header.layout.whole
    apcodec("encode", clip, "--window", "0.1", "--overwrite")
    assert EncodedAudio.load(f"{clip}.apc").header.layout.core == 15


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--precision", "fp8"), "no precision is called 'fp8'"),
        (("--precision", "fp16", "--device", "cpu"), "float16 runs on a GPU only"),
        (("--device", "cuda:0"), "no backend works here"),
        (("--backend", "tensorrt"), "no NVIDIA driver is installed here"),
        (("--engines", "somewhere"), "no NVIDIA driver is installed here"),
    ],
)
@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_what_is_not_here_is_refused_not_replaced(clip: Path, option: tuple[str, ...], words: str) -> None:
    answer = apcodec("encode", clip, *option)
    assert isinstance(answer.exception, ApcodecError)
    assert words in str(answer.exception)


def test_inspect_describes_codes_and_checks_them(clip: Path, codec: Codec) -> None:
    apcodec("encode", clip)
    path = Path(f"{clip}.apc")
    facts = json.loads(apcodec("inspect", path, "--json").stdout)
    assert facts["fingerprint"] == codec.fingerprint[:16]
    assert (facts["samples"], facts["latents"], facts["bytes"]) == (24_123, 76, path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1] + b"\xaa")
    answer = apcodec("inspect", path)
    assert str(path) in str(answer.exception) and "chunk 0" in str(answer.exception)


def test_inspect_describes_bundles() -> None:
    facts = json.loads(apcodec("inspect", "--json").stdout)
    assert facts["bitrate_bps"] == 6000
    assert apcodec("inspect", Bundle.embedded().path).stdout == apcodec("inspect").stdout


def test_doctor_says_what_works(tmp_path: Path) -> None:
    answer = apcodec("doctor", "--json")
    assert answer.exit_code == 0
    findings = {finding["subject"]: finding for finding in json.loads(answer.stdout)}
    assert {findings[name]["state"] for name in ("model", "audio", "onnxruntime", "openvino")} == {"ok"}
    assert "--backend openvino computes this model in " in findings["openvino"]["detail"]
    broken = apcodec("doctor", "--model", tmp_path)
    assert broken.exit_code == 1
    assert "is not a bundle" in broken.stdout


def test_doctor_does_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    def states() -> list[str]:
        findings = json.loads(apcodec("doctor", "--json").stdout)
        return [finding["state"] for finding in findings if finding["subject"] == "openvino"]

    monkeypatch.setitem(sys.modules, "openvino", None)
    assert states() == ["broken"]
    monkeypatch.setattr("apcodec_deploy.cli.doctor.version_of", lambda name: None)
    assert states() == ["optional"]


def test_an_error_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    answer = apcodec_process("transcode", "nowhere", "out", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr == "error: nowhere does not exist, or may not be read\n"
    assert answer.stdout == ""


def test_names_that_cannot_be_printed_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new\nline [red].wav").write_text("no")
    answer = apcodec_process("transcode", "in", "out", cwd=tmp_path)
    assert answer.returncode == 1
    assert "in/new\\nline [red].wav" in answer.stderr


def test_an_error_is_valid_json_where_json_is_asked_for(tmp_path: Path) -> None:
    answer = apcodec_process("inspect", "nowhere.apc", "--json", cwd=tmp_path)
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "AudioError"


def test_the_name_of_a_folder_says_nothing_about_formats(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.flac"
    other.write_bytes(clip.read_bytes())
    apcodec("encode", clip, other)
    answer = apcodec("decode", f"{clip}.apc", f"{other}.apc", "-o", tmp_path / "results.v2")
    assert answer.exit_code == 0, answer.stderr
    assert {path.name for path in (tmp_path / "results.v2").iterdir()} == {"a.flac.wav", "b.flac.wav"}


def test_codes_keep_their_suffix(clip: Path, tmp_path: Path) -> None:
    answer = apcodec("encode", clip, "-o", tmp_path / "b.wav")
    assert "codes go into a .apc file" in answer.stderr
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.slow
def test_salvage_says_how_much_of_a_cut_file_is_missing(tmp_path: Path, codec: Codec) -> None:
    codec.encode(np.random.default_rng(0).normal(0, 0.1, 14 * 48_000).astype(np.float32)).save(tmp_path / "a.wav.apc")
    data = (tmp_path / "a.wav.apc").read_bytes()
    (tmp_path / "a.wav.apc").write_bytes(data[:-1])
    assert "--salvage" in apcodec("decode", tmp_path / "a.wav.apc").stderr
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--salvage")
    assert answer.exit_code == 0
    assert "655359 of 672000 samples are left" in answer.stderr
    assert soundfile.info(tmp_path / "out" / "a.wav").frames == 655_359


def test_options_about_audio_are_refused_where_codes_are_written(clip: Path, tmp_path: Path) -> None:
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc", "--subtype", "PCM_24")
    assert isinstance(answer.exception, ApcodecError)


def apcodec_without(missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that cannot import these."""
    code = f"""
import runpy, sys
sys.modules |= dict.fromkeys({missing!r})
sys.argv = ["apcodec", *sys.argv[1:]]
runpy.run_module("apcodec_deploy.cli.main", run_name="__main__")
"""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


NEEDED = ("onnxruntime", "soxr", "soundfile")


def test_help_needs_no_dependency() -> None:
    answer = apcodec_without(NEEDED, "--help")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("missing", NEEDED)
def test_a_broken_dependency_is_what_doctor_is_for(missing: str) -> None:
    doctor = apcodec_without((missing,), "doctor")
    assert doctor.returncode == 1
    assert "broken" in doctor.stdout and missing in doctor.stdout
    assert "Traceback" not in doctor.stderr
