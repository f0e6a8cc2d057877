"""The manifest: what counts after any end of a run, and what a job refuses to mix."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.errors import AudioError, ManifestError, OutputError
from apcodec_deploy.files import partial_path
from apcodec_deploy.transcoding.history import History
from apcodec_deploy.transcoding.manifest import MANIFEST, Manifest
from apcodec_deploy.transcoding.record import FileRecord, Settings, SourceState, checksum

SETTINGS = Settings(model="ab" * 32, backend="onnxruntime", precision="float32", to="apc")


def record(source: Path, output: Path, folder: Path, error: str | None = None) -> FileRecord:
    """The record of a result that is there already."""
    state = SourceState.of(source)
    with output.open("rb") as file:
        digest = checksum(file)
    return FileRecord(
        source=str(source), source_bytes=state.size, source_modified_ns=state.modified, source_sha256=state.sha256,
        start=None, end=None,
        samples=1, sample_rate=48_000, channels=1, model=SETTINGS.model, backend="onnxruntime", precision="float32",
        to="apc", output=output.relative_to(folder).as_posix(), bytes=output.stat().st_size, sha256=digest, elapsed=0.1,
        finished="2026-01-01T00:00:00+00:00", error=error,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder with one result, which its manifest records, and the source beside it."""
    (tmp_path / "a.wav").write_bytes(b"audio")
    out = tmp_path / "out"
    with Manifest.open(out, SETTINGS, fresh=False) as manifest:
        (out / "a.wav.apc").write_bytes(b"codes")
        manifest.append(record(tmp_path / "a.wav", out / "a.wav.apc", out))
    return out


def done(folder: Path, settings: Settings = SETTINGS, *, fresh: bool = False) -> bool:
    with Manifest.open(folder, settings, fresh=fresh) as manifest:
        return manifest.done(folder / "a.wav.apc", folder.parent / "a.wav") is not None


def test_what_was_done_is_not_done_again(folder: Path) -> None:
    assert done(folder) and done(folder)
    assert len(History.read(folder / MANIFEST).done) == 1


@pytest.mark.parametrize("instead", [None, "another"])
def test_a_manifest_that_goes_while_a_job_runs_is_told(folder: Path, instead: str | None) -> None:
    with (
        pytest.raises(OutputError, match=r"was removed while the job ran.*--overwrite"),
        Manifest.open(folder, SETTINGS, fresh=False),
    ):
        (folder / MANIFEST).unlink()
        if instead:
            (folder / MANIFEST).write_text(instead)


def test_a_source_that_changed_is_done_again_and_one_that_was_touched_is_not(folder: Path) -> None:
    source = folder.parent / "a.wav"
    os.utime(source, ns=(1, 1))
    assert done(folder)
    source.write_bytes(b"other")
    assert not done(folder)
    with Manifest.open(folder, SETTINGS, fresh=False) as manifest:
        assert manifest.owns(folder / "a.wav.apc") and not manifest.owns(folder / "b.wav.apc")


def test_another_source_of_the_same_name_is_refused(folder: Path) -> None:
    other = folder.parent / "elsewhere"
    other.mkdir()
    (other / "a.wav").write_bytes(b"other")
    with Manifest.open(folder, SETTINGS, fresh=False) as manifest:
        with pytest.raises(OutputError, match="was made of"):
            manifest.done(folder / "a.wav.apc", other / "a.wav")
        (other / "a.wav").write_bytes(b"audio")  # a corpus that has moved
        assert manifest.done(folder / "a.wav.apc", other / "a.wav") is not None
        (other / "a.wav").unlink()
        with pytest.raises(AudioError, match="cannot be read"):
            manifest.done(folder / "a.wav.apc", other / "a.wav")


@pytest.mark.parametrize("what", ["missing", "cut"])
def test_a_result_that_is_gone_or_cut_is_done_again(folder: Path, what: str) -> None:
    (folder / "a.wav.apc").unlink() if what == "missing" else (folder / "a.wav.apc").write_bytes(b"cod")
    assert not done(folder)


def test_a_run_killed_before_the_renaming_has_done_the_file(folder: Path) -> None:
    result, partial = folder / "a.wav.apc", partial_path(folder / "a.wav.apc")
    result.rename(partial)
    assert done(folder)
    assert result.read_bytes() == b"codes" and not partial.exists()


def test_a_run_killed_while_it_wrote_has_not_done_the_file(folder: Path) -> None:
    (folder / "a.wav.apc").unlink()
    partial_path(folder / "a.wav.apc").write_bytes(b"cod")
    assert not done(folder)


def test_a_run_killed_between_link_and_unlink_leaves_nothing(folder: Path) -> None:
    partial = partial_path(folder / "a.wav.apc")
    os.link(folder / "a.wav.apc", partial)
    assert done(folder) and not partial.exists()


def test_a_line_that_was_cut_does_not_count_and_goes(folder: Path) -> None:
    path = folder / MANIFEST
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for length in (1, len(last) // 2, len(last) - 1):
        path.write_bytes(whole[: len(whole) - length])
        assert not done(folder)
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
    path.write_bytes(whole + b'{"kind": "fi')
    assert done(folder)


@given(st.binary(min_size=1, max_size=40).filter(lambda line: line.strip() and b"\n" not in line))
def test_a_damaged_line_is_named(line: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / MANIFEST
        path.write_bytes(line + b"\n")
        with pytest.raises(ManifestError, match="line 1: "):
            History.read(path)


def test_a_failure_counts_until_the_file_is_done(folder: Path) -> None:
    source, output = folder.parent / "a.wav", folder / "a.wav.apc"
    with Manifest.open(folder, SETTINGS, fresh=False) as manifest:
        manifest.append(record(source, output, folder, error="the disk was full"))
    history = History.read(folder / MANIFEST)
    assert not history.done and [each.error for each in history.failed.values()] == ["the disk was full"]
    assert history.former == {"a.wav.apc"}
    with Manifest.open(folder, SETTINGS, fresh=False) as manifest:
        assert manifest.done(output, source) is None and manifest.owns(output)
        manifest.append(record(source, output, folder))
    history = History.read(folder / MANIFEST)
    assert list(history.done) == ["a.wav.apc"] and not history.failed and not history.former


@pytest.mark.parametrize("name", ["model", "backend", "precision", "window", "salvage", "subtype"])
def test_a_job_with_other_settings_is_refused_unless_all_is_made_anew(folder: Path, name: str) -> None:
    other = replace(SETTINGS, **{name: True if name == "salvage" else "else"})
    with pytest.raises(OutputError, match=f"{name} .* instead of .*--overwrite"):
        done(folder, other)
    assert done(folder)
    assert not done(folder, other, fresh=True)
    with Manifest.open(folder, other, fresh=False) as manifest:  # the run with --overwrite was killed
        assert manifest.owns(folder / "a.wav.apc")
    with pytest.raises(OutputError, match="other settings"):
        done(folder)


def test_another_kind_of_result_is_a_job_of_its_own(folder: Path) -> None:
    with Manifest.open(folder, replace(SETTINGS, to="wav", subtype="PCM_16", backend="openvino"), fresh=True):
        pass
    assert done(folder)


def test_two_runs_cannot_share_a_folder(folder: Path) -> None:
    with (
        Manifest.open(folder, SETTINGS, fresh=False),
        pytest.raises(OutputError, match="another job writes"),
        Manifest.open(folder, SETTINGS, fresh=False),
    ):
        pass
    assert done(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"manifest\.jsonl cannot be written"),
        Manifest.open(tmp_path / "file" / "out", SETTINGS, fresh=False),
    ):
        pass


def test_a_record_that_cannot_be_written_leaves_the_manifest_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = os.write
    with Manifest.open(folder, SETTINGS, fresh=False) as manifest:
        before = (folder / MANIFEST).read_bytes()
        entry = record(folder.parent / "a.wav", folder / "a.wav.apc", folder)
        with monkeypatch.context() as patch, pytest.raises(OutputError, match="is the disk full"):
            patch.setattr(os, "write", lambda descriptor, data: genuine(descriptor, data[:7]))
            manifest.append(entry)
        assert (folder / MANIFEST).read_bytes() == before
    assert done(folder)


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff\n.wav")
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(b"audio")
    with Manifest.open(out, SETTINGS, fresh=False) as manifest:
        (out / f"{name}.apc").write_bytes(b"codes")
        manifest.append(record(source, out / f"{name}.apc", out))
    with Manifest.open(out, SETTINGS, fresh=False) as manifest:
        assert manifest.done(out / f"{name}.apc", source) is not None


def test_a_later_format_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(ManifestError, match="line 1: format 2; this program reads 1"):
        History.read(folder / MANIFEST)
