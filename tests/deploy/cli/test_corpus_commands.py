"""The commands for a folder of files, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import apcodec

from apcodec_deploy import EncodedAudio
from apcodec_deploy.backends.choice import CPU_VARIABLE
from apcodec_deploy.bundle import Bundle


def test_transcode_reports_what_it_did(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    answer = apcodec("transcode", tmp_path, output, "--json")
    done = json.loads(answer.stdout)
    assert answer.exit_code == 0
    assert (done["done"], done["skipped"], done["failed"]) == (1, 0, 0)
    assert done["files"][0]["target"] == str(output / "a.flac.wav")
    assert done["audio_seconds"] == pytest.approx(24_123 / 48_000)
    assert done["model"] == Bundle.embedded().fingerprint
    assert json.loads(apcodec("transcode", tmp_path, output, "--json").stdout)["skipped"] == 1


def test_transcode_says_who_waited_for_whom(clip: Path, tmp_path: Path) -> None:
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc", "--stats", "--jobs", "2", "--json")
    stats = json.loads(answer.stdout)["stats"]
    assert stats["codec"]["batches"] == 1 and 0 < stats["codec_share"] <= 1
    assert "waiting for a turn" in answer.stderr and "batches of 1.0 windows" in answer.stderr


def test_a_job_of_other_settings_is_refused_until_all_is_made_anew(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert apcodec("transcode", tmp_path, output, "--to", "apc").exit_code == 0
    refused = apcodec("transcode", tmp_path, output, "--to", "apc", "--window", "1")
    assert "this one has window 1 instead of None" in str(refused.exception)
    anew = apcodec("transcode", tmp_path, output, "--to", "apc", "--window", "1", "--overwrite", "--json")
    assert json.loads(anew.stdout)["done"] == 1
    assert json.loads(apcodec("transcode", tmp_path, output, "--json").stdout)["done"] == 1  # audio is another job


def test_verify_holds_results_against_their_manifest(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("hello")
    output = tmp_path / "out"
    apcodec("transcode", tmp_path, output, "--to", "apc")
    shutil.copy(output / "a.flac.apc", output / "copy.apc")
    answer = apcodec("verify", output, "--deep")
    assert answer.exit_code == 0
    assert answer.stdout == "1 file checked, 0 problems, 1 not converted, 1 unknown\n"
    assert "not converted" in answer.stderr and "not in the manifest: copy.apc" in answer.stderr
    (output / "a.flac.apc").write_bytes(b"")
    answer = apcodec("verify", output, "--json")
    assert answer.exit_code == 1
    assert "0 bytes instead of" in json.loads(answer.stdout)["problems"]["a.flac.apc"]
    assert "does not exist" in str(apcodec("verify", tmp_path).exception)


def test_a_list_names_the_files_of_a_folder(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,start,end\na.flac,0.1,0.3\nnone.wav,,\n")
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc", "--files-from", tmp_path / "list.csv")
    assert answer.exit_code == 1
    assert "none.wav" in answer.stderr and "1 of 2 files failed" in answer.stderr
    assert EncodedAudio.load(tmp_path / "out" / "a.flac.0.100-0.300.apc").samples == 9_600
    again = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc", "--files-from", tmp_path / "list.csv")
    assert again.stdout.startswith("1 file skipped, 1 failed")
    assert "is no folder" in str(apcodec("transcode", clip, tmp_path / "out", "--files-from", "x").exception)


def test_codes_become_shards(clip: Path, tmp_path: Path) -> None:
    apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc")
    answer = apcodec("pack", tmp_path / "out", tmp_path / "shards")
    assert answer.stdout == "1 shard, 1 written: 1 file, 0.503 s of audio\n"
    again = json.loads(apcodec("pack", tmp_path / "out", tmp_path / "shards", "--json").stdout)
    assert again["written"] == 0 and again["shards"][0]["name"] == "000000.tar"
    assert "expected one of" in str(apcodec("pack", tmp_path / "out", tmp_path / "s", "--to", "zip").exception)


def test_codes_are_cut_and_joined(clip: Path, tmp_path: Path) -> None:
    apcodec("encode", clip)
    whole = f"{clip}.apc"
    for number, times in enumerate((("--end", "0.2"), ("--start", "0.2"))):
        assert apcodec("slice", whole, "-o", tmp_path / f"{number}.apc", *times).exit_code == 0
    joined = apcodec("concat", tmp_path / "0.apc", tmp_path / "1.apc", "-o", tmp_path / "b.apc")
    assert joined.stdout == f"{tmp_path / 'b.apc'}: 0.503 s of 2 clips\n"
    assert (tmp_path / "b.apc").read_bytes() == Path(whole).read_bytes()
    assert "exists" in str(apcodec("slice", whole, "-o", tmp_path / "b.apc").exception)


def test_transcode_exits_with_1_after_a_failure_and_does_the_rest(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("hello")
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "flac")
    assert answer.exit_code == 1
    assert "bad.wav" in answer.stderr and "1 of 2 files failed" in answer.stderr
    assert (tmp_path / "out" / "a.flac").is_file()


def test_a_dry_run_writes_nothing(clip: Path, tmp_path: Path) -> None:
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--to", "apc", "--dry-run")
    assert f"write  {clip} -> {tmp_path / 'out' / 'a.flac.apc'}" in answer.stdout
    assert not (tmp_path / "out").exists()
    planned = json.loads(apcodec("transcode", tmp_path, tmp_path / "out", "--dry-run", "--json").stdout)
    target = str(tmp_path / "out" / "a.flac.wav")
    assert planned["files"] == [{"source": str(clip), "target": target, "fate": "write", "problem": None}]


def test_a_dry_run_tells_what_would_be_skipped_or_fail(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.flac.wav").write_bytes(clip.read_bytes())
    (tmp_path / "b.flac").write_bytes(clip.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.flac.wav").touch()
    answer = apcodec("transcode", tmp_path, tmp_path / "out", "--dry-run")
    assert answer.exit_code == 1
    assert sorted(line.split()[0] for line in answer.stdout.splitlines()) == ["fail", "fail", "skip"]


def test_a_job_goes_on_with_what_it_began_with(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO was installed, or removed, since the job began."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(clip, folder / f"{name}.flac")

    def job(*more: str) -> dict[str, Any]:
        answer = apcodec("transcode", folder, tmp_path / "out", "--to", "apc", "--json", *more)
        assert answer.exit_code == 0, answer.output
        held: dict[str, Any] = json.loads(answer.stdout)
        return held

    assert job()["backend"] == "onnxruntime"
    (tmp_path / "out" / "b.flac.apc").unlink()
    monkeypatch.setenv(CPU_VARIABLE, "openvino")
    again = job()
    assert (again["backend"], again["precision"], again["done"], again["skipped"]) == ("onnxruntime", "float32", 1, 1)
    asked = apcodec("transcode", folder, tmp_path / "out", "--to", "apc", "--backend", "openvino")
    assert asked.exit_code == 1 and "other settings" in str(asked.exception)
    assert job("--overwrite")["backend"] == "openvino"
    monkeypatch.setenv(CPU_VARIABLE, "onnxruntime")
    assert job()["skipped"] == 2
