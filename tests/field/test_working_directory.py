"""One job, gone on with from elsewhere: what its sources are does not depend on where it is called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import apcodec
from numpy.typing import NDArray

from apcodec_deploy import Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import MANIFEST, Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.verification import history_of, verify

Audio = NDArray[np.float32]


@pytest.fixture
def work(codec: Codec, tmp_path: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a corpus and its codes, made from within by relative paths."""
    work = tmp_path / "work"
    (work / "corpus").mkdir(parents=True)
    for name in ("x", "y"):
        soundfile.write(work / "corpus" / f"{name}.wav", speech[:5000], 48_000)
    monkeypatch.chdir(work)
    assert outcomes(codec, "corpus", "out") == ["done", "done"]
    return work


def outcomes(codec: Codec, source: Path | str, output: Path | str) -> list[str]:
    """What becomes of the files of a job, or why it fails."""
    settings = Settings(model=codec.fingerprint, backend="onnxruntime", precision="float32", to="apc")
    with Manifest.open(Path(output), settings, fresh=False) as manifest:
        tasks = plan_folder(Path(source), Path(output), "apc")
        report = run(codec, tasks, ConversionOptions(form=None), JobOptions(skip_existing=True), manifest=manifest)
    return [each.reason if each.outcome == "failed" else str(each.outcome) for each in report.results]  # type: ignore[misc]


def change(path: Path, speech: Audio) -> None:
    soundfile.write(path, speech[5000:9000], 48_000)


@pytest.mark.parametrize(
    ("directory", "source", "output"),
    [
        (".", "corpus", "out"),
        (".", "./corpus/../corpus", "out"),
        ("..", "work/corpus", "work/out"),
        ("corpus", ".", "../out"),
        ("/", "{work}/corpus", "{work}/out"),
        ("..", "link/corpus", "work/out"),
        ("..", "corpus", "link/out"),
        ("link", "corpus", "out"),
    ],
)
def test_a_source_that_changed_is_done_again_from_anywhere(
    codec: Codec,
    work: Path,
    speech: Audio,
    monkeypatch: pytest.MonkeyPatch,
    directory: str,
    source: str,
    output: str,
) -> None:
    (work.parent / "link").symlink_to("work")
    (work.parent / "corpus").symlink_to("work/corpus")
    before = (work / "out" / "x.wav.apc").read_bytes()
    change(work / "corpus" / "x.wav", speech)
    monkeypatch.chdir(work.parent / "link" if directory == "link" else work / directory)
    for expected in (["done", "skipped"], ["skipped", "skipped"]):
        assert outcomes(codec, source.format(work=work), output.format(work=work)) == expected
    assert (work / "out" / "x.wav.apc").read_bytes() != before
    assert not verify(work / "out", history_of(work / "out")).problems


def test_the_command_does_so(work: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert apcodec("transcode", "corpus", "codes", "--to", "apc").exit_code == 0
    change(work / "corpus" / "x.wav", speech)
    monkeypatch.chdir(work.parent)
    answer = apcodec("transcode", "work/corpus", "work/codes", "--to", "apc", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["done"]) == (0, 1)


def test_a_job_of_another_model_is_told_apart_by_its_model(work: Path) -> None:
    """Not by a precision of the first model, which the second one may not have."""
    assert apcodec("transcode", "corpus", "codes", "--to", "apc").exit_code == 0
    manifest = work / "codes" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"precision": "float32"', '"precision": "bfloat16"'))
    answer = apcodec("transcode", "corpus", "codes", "--to", "apc", "--model", "demo-s")
    assert answer.exit_code == 1
    assert "holds a job with other settings; this one has model" in str(answer.exception)


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_job_that_moved_as_a_whole_goes_on(codec: Codec, work: Path, speech: Audio, how: str) -> None:
    new = work.parent / "elsewhere" / "again"
    new.parent.mkdir()
    work.rename(new) if how == "moved" else shutil.copytree(work, new)
    assert outcomes(codec, new / "corpus", new / "out") == ["skipped", "skipped"]
    change(new / "corpus" / "x.wav", speech)
    assert outcomes(codec, new / "corpus", new / "out") == ["done", "skipped"]


def test_a_corpus_that_moved_alone_is_known_by_its_bytes(codec: Codec, work: Path, speech: Audio) -> None:
    (work / "corpus").rename(work / "renamed")
    assert outcomes(codec, work / "renamed", work / "out") == ["skipped", "skipped"]
    change(work / "renamed" / "x.wav", speech)
    reason, other = outcomes(codec, work / "renamed", work / "out")
    assert f"was made of {work / 'corpus' / 'x.wav'}" in reason and "remove that result" in reason
    assert other == "skipped"
    (work / "out" / "x.wav.apc").unlink()
    assert outcomes(codec, work / "renamed", work / "out") == ["done", "skipped"]


def test_another_corpus_of_the_same_names_is_refused(
    codec: Codec, work: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its path from the working directory is the same."""
    before = (work / "out" / "x.wav.apc").read_bytes()
    other = work.parent / "other"
    (other / "corpus").mkdir(parents=True)
    change(other / "corpus" / "x.wav", speech)
    monkeypatch.chdir(other)
    for source in ("corpus", other / "corpus", "../other/corpus"):
        (reason,) = outcomes(codec, source, work / "out")
        assert f"was made of {work / 'corpus' / 'x.wav'}" in reason
    assert (work / "out" / "x.wav.apc").read_bytes() == before
    found = history_of(work / "out")
    assert sorted(found.done) == ["x.wav.apc", "y.wav.apc"]


def test_a_failure_is_over_when_the_file_is_done_from_elsewhere(
    codec: Codec, work: Path, speech: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "corpus" / "z.wav").write_text("none")
    assert "cannot be read as audio" in outcomes(codec, "corpus", "out")[2]
    assert list(history_of(work / "out").failed) == ["corpus/z.wav"]
    change(work / "corpus" / "z.wav", speech)
    monkeypatch.chdir("/")
    assert outcomes(codec, work / "corpus", work / "out") == ["skipped", "skipped", "done"]
    assert not history_of(work / "out").failed
    (work / "corpus" / "x.wav").write_text("none")
    assert "cannot be read as audio" in outcomes(codec, work / "corpus", work / "out")[0]
    assert "x.wav.apc" in history_of(work / "out").former  # made of what is not there any more


def test_a_failure_counts_once_wherever_it_is_met_again(
    codec: Codec, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "corpus" / "z.wav").write_text("none")
    for directory, source in ((".", "corpus"), ("..", "work/corpus"), (".", "./out/../corpus"), ("corpus", ".")):
        monkeypatch.chdir(work / directory)
        assert "cannot be read as audio" in outcomes(codec, source, work / "out")[2]
    assert [record.source for record in history_of(work / "out").failed_records()] == ["z.wav"]


def test_a_manifest_that_does_not_say_where_its_job_ran_is_read_as_before(
    codec: Codec, work: Path, speech: Audio
) -> None:
    path = work / "out" / MANIFEST
    first, *rest = path.read_text().splitlines()
    values = json.loads(first)
    assert (values.pop("directory"), values.pop("folder")) == (str(work), str(work / "out"))
    path.write_text("\n".join([json.dumps(values), *rest, ""]))
    change(work / "corpus" / "x.wav", speech)
    assert outcomes(codec, "corpus", "out") == ["done", "skipped"]
