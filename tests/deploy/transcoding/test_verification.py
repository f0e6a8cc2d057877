"""Each way in which a result can differ from its record, and what is said of it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy import Codec, load
from apcodec_deploy.audio.writer import AudioFormat
from apcodec_deploy.bitstream.header import HEADER_BYTES, Header
from apcodec_deploy.errors import ManifestError, ModelMismatchError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.verification import Verification, history_of, verify

Audio = NDArray[np.float32]


def transcode(codec: Codec, source: Path, out: Path, to: str = "apc") -> None:
    form = None if to in ("apc", "npy") else AudioFormat.of(to)
    settings = Settings(model=codec.fingerprint, backend=codec.backend.name, precision="float32", to=to)
    with Manifest.open(out, settings, fresh=False) as manifest:
        options = ConversionOptions(form=form, arrays=to == "npy")
        how = JobOptions(jobs=2, skip_existing=True)
        run(codec, plan_folder(source, out, to), options, how, manifest=manifest)


@pytest.fixture(scope="module")
def made(codec: Codec, tmp_path_factory: pytest.TempPathFactory, speech: Audio) -> Path:
    """Three files of codes and a file that failed, with their manifest."""
    root = tmp_path_factory.mktemp("made")
    (root / "in" / "deep").mkdir(parents=True)
    for index, name in enumerate(("a.wav", "deep/b.wav", "c.wav")):
        soundfile.write(root / "in" / name, speech[9000 * index : 9000 * index + 20_000], 48_000)
    (root / "in" / "bad.wav").write_text("hello")
    transcode(codec, root / "in", root / "out")
    return root / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def found(out: Path, codec: Codec | None = None) -> Verification:
    return verify(out, history_of(out), codec=codec, jobs=2)


def test_what_was_made_is_as_the_manifest_says(out: Path, codec: Codec) -> None:
    for deep in (None, codec):
        result = found(out, deep)
        assert (result.checked, result.problems, result.unknown) == (3, {}, [])
        assert ["bad.wav" in source and "cannot be read as audio" in why for source, why in result.failed.items()] == [
            True
        ]


def flip(out: Path) -> None:
    data = bytearray((out / "a.wav.apc").read_bytes())
    data[100] ^= 4
    (out / "a.wav.apc").write_bytes(data)


def cut(out: Path) -> None:
    (out / "a.wav.apc").write_bytes((out / "a.wav.apc").read_bytes()[:-5])


def remove(out: Path) -> None:
    (out / "a.wav.apc").unlink()


def fold(out: Path) -> None:
    remove(out)
    (out / "a.wav.apc").mkdir()


def swap(out: Path) -> None:
    shutil.copy(out / "c.wav.apc", out / "a.wav.apc")


def replace_by_another_models(out: Path) -> None:
    data = bytearray((out / "a.wav.apc").read_bytes())
    header = Header.from_bytes(bytes(data))
    data[:HEADER_BYTES] = replace(header, fingerprint="0123456789abcdef").to_bytes()
    (out / "a.wav.apc").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "has other bytes than were written"),
        (cut, "it was cut"),
        (remove, "is missing"),
        (fold, "is no regular file"),
        (swap, r"holds what c\.wav\.apc should hold"),
        (replace_by_another_models, "was made by model 0123456789abcdef"),
    ],
)
def test_every_damage_is_found_and_named(out: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(out)
    result = found(out)
    assert list(result.problems) == ["a.wav.apc"]
    assert re.search(words, result.problems["a.wav.apc"])


def test_files_that_nobody_recorded_are_listed(out: Path) -> None:
    shutil.copy(out / "a.wav.apc", out / "deep" / "mine.apc")
    (out / "notes.txt").write_text("")
    assert found(out).unknown == ["deep/mine.apc"]


def test_deep_decodes_what_the_checksum_lets_pass(codec: Codec, tmp_path: Path, speech: Audio) -> None:
    """A manifest of a file that was wrong when it was made: only decoding tells."""
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", speech[:9000], 48_000)
    for to in ("apc", "wav"):
        transcode(codec, tmp_path / "in", tmp_path / to, to)
        path = tmp_path / to / "manifest.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[-1]["samples"] = 9001
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert not found(tmp_path / to).problems
        (problem,) = found(tmp_path / to, codec).problems.values()
        assert "9000 samples" in problem and "9001" in problem


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 4, 29), np.int64), "holds int64"),
        (np.zeros((4, 29), np.uint16), r"uint16 \[4, 29\]"),
        (np.full((1, 4, 29), 1024, np.uint16), "the code 1024"),
        (np.array({}), "no array that can be read"),
        (np.zeros((1, 4, 29), np.uint16), None),
    ],
)
def test_deep_looks_into_arrays(
    codec: Codec, tmp_path: Path, speech: Audio, array: NDArray[np.generic], words: str | None
) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", speech[:9000], 48_000)
    transcode(codec, tmp_path / "in", tmp_path / "out", "npy")
    assert not found(tmp_path / "out", codec).problems
    path, manifest = tmp_path / "out" / "a.wav.npy", tmp_path / "out" / "manifest.jsonl"
    before = path.read_bytes()
    np.save(path, array)
    text = manifest.read_text().replace(
        hashlib.sha256(before).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()
    )
    manifest.write_text(text.replace(f'"bytes": {len(before)}', f'"bytes": {path.stat().st_size}'))
    problems = list(found(tmp_path / "out", codec).problems.values())
    assert len(problems) == (words is not None)
    assert words is None or re.search(words, problems[0])


def test_another_models_codec_cannot_check_deeply(out: Path, grn_bundle: Path) -> None:
    with load(grn_bundle) as other, pytest.raises(ModelMismatchError, match="--model"):
        found(out, other)


def test_a_folder_without_a_manifest_is_named(tmp_path: Path, out: Path, codec: Codec) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        history_of(tmp_path)
    settings = Settings(model=codec.fingerprint, backend="onnxruntime", precision="float32", to="apc")
    with Manifest.open(out, settings, fresh=False), pytest.raises(ManifestError, match="a job writes to"):
        history_of(out)
