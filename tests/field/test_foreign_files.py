"""Files in a user's folders that are no audio of hers, and files of hers that stand where ours would go."""

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
from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.files import written_whole
from apcodec_deploy.sharding.formats import SHARD_FORMATS
from apcodec_deploy.sharding.pack import INDEX, pack
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.leftovers import LeftOut
from apcodec_deploy.transcoding.listing import plan_list, read_list
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.verification import history_of, verify

Audio = NDArray[np.float32]
APPLE_DOUBLE = bytes.fromhex("00051607 00020000") + b"Mac OS X        " + b"\0\x02\0\0" + bytes(100)
TAR = SHARD_FORMATS["webdataset"]


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def planned(source: Path, output: Path) -> tuple[list[str], dict[str, str]]:
    """The sources below the input folder, and what is left out and why."""
    left_out = LeftOut()
    tasks = plan_folder(source, output, "apc", left_out)
    passed = {path.relative_to(source).as_posix(): why for why, paths in left_out.paths.items() for path in paths}
    return [task.source.relative_to(source).as_posix() for task in tasks], passed


@pytest.fixture(scope="module")
def codes(codec: Codec, tmp_path_factory: pytest.TempPathFactory, speech: Audio) -> Path:
    """An output folder with the codes of three files."""
    root = tmp_path_factory.mktemp("codes")
    (root / "in").mkdir()
    for name in "abc":
        soundfile.write(root / "in" / f"{name}.wav", speech[:5000], 48_000)
    settings = Settings(model=codec.fingerprint, backend="onnxruntime", precision="float32", to="apc")
    with Manifest.open(root / "out", settings, fresh=False) as manifest:
        tasks = plan_folder(root / "in", root / "out", "apc")
        run(codec, tasks, ConversionOptions(form=None), JobOptions(), manifest=manifest)
    return root / "out"


def test_what_macos_keeps_beside_files_is_left_out(tmp_path: Path, speech: Audio) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "a.wav", speech[:5000], 48_000)
    for name in ("._a.wav", "deep/._b.flac", "__MACOSX/a.wav", "__MACOSX/._a.wav", ".AppleDouble/a.wav", "._c.apc"):
        put(source / name, APPLE_DOUBLE)
    answer = apcodec("transcode", source, tmp_path / "out", "--to", "apc", "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["done"], len(found["left_out"])) == (0, 1, 6)
    assert "6 left out, what macOS keeps beside a file" in answer.stderr and "._a.wav" in answer.stderr


def test_a_recording_is_known_by_what_it_holds(tmp_path: Path) -> None:
    """A name that begins as macOS's do is a recording's, too; and one that cannot be told is not left out."""
    source = tmp_path / "in"
    for name, data in (
        ("._a.wav", b"RIFF...."),
        ("._empty.wav", b""),
        (".hidden.wav", b"RIFF"),
        ("b.wav", APPLE_DOUBLE),
    ):
        put(source / name, data)
    (source / "._link.wav").symlink_to("/nowhere")
    names, passed = planned(source, tmp_path / "out")
    assert sorted(names) == ["._a.wav", "._empty.wav", "._link.wav", ".hidden.wav", "b.wav"] and not passed


def test_deleted_files_and_snapshots_are_named_and_not_read(tmp_path: Path) -> None:
    source = tmp_path / "in"
    folders = (".Trash-1000/files", "$RECYCLE.BIN", "@eaDir", "#recycle", ".snapshot/hourly.0", "lost+found")
    for name in ("a.wav", ".mine/b.wav", "Trash/c.wav", *(f"{folder}/a.wav" for folder in folders)):
        put(source / name, b"RIFF")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        put(source / name, b"x")
    names, passed = planned(source, tmp_path / "out")
    assert sorted(names) == [".mine/b.wav", "Trash/c.wav", "a.wav"]
    assert set(passed) == {folder.partition("/")[0] for folder in folders}
    assert planned(source / ".Trash-1000", tmp_path / "out")[0] == ["files/a.wav"]  # asked for by name


def test_a_list_leaves_out_what_a_folder_does(tmp_path: Path) -> None:
    source = tmp_path / "in"
    put(source / "a.wav", b"RIFF")
    put(source / "._a.wav", APPLE_DOUBLE)
    put(source / "._b.wav", b"RIFF")
    (tmp_path / "list.txt").write_text("a.wav\n._a.wav\n._b.wav\n")
    left_out = LeftOut()
    tasks = plan_list(read_list(str(tmp_path / "list.txt")), source, tmp_path / "out", "apc", left_out)
    assert [task.source.name for task in tasks] == ["a.wav", "._b.wav"]
    assert [line for line in left_out.lines() if "AppleDouble" in line and "._a.wav" in line]
    (tmp_path / "list.txt").write_text("._a.wav\n")
    with pytest.raises(AudioError, match="names no audio"):
        plan_list(read_list(str(tmp_path / "list.txt")), source, tmp_path / "out", "apc", left_out)
    with pytest.raises(AudioError, match="holds no audio"):
        plan_folder(source / "._a.wav", tmp_path / "out", "apc")


def test_verify_does_not_take_attributes_for_results(codes: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(codes, tmp_path / "out"))
    put(out / "._a.wav.apc", APPLE_DOUBLE)
    put(out / "mine.apc", b"x")
    found = verify(out, history_of(out))
    assert (found.checked, found.problems, found.unknown) == (3, {}, ["mine.apc"])


def test_a_file_in_the_place_of_a_shard_is_not_replaced(codes: Path, tmp_path: Path) -> None:
    history, target = history_of(codes), tmp_path / "shards"
    pack(codes, history, target, TAR, size=3)
    mine = put(target / "000002.tar", b"mine")
    with pytest.raises(OutputError, match=r"000002\.tar is no shard that index\.json knows"):
        pack(codes, history, target, TAR, size=1)
    assert mine.read_bytes() == b"mine"
    assert pack(codes, history, target, TAR, size=3).written == 0
    mine.unlink()
    assert pack(codes, history, target, TAR, size=1).written == 3


def test_a_shard_that_was_written_and_not_recorded_is_ours(codes: Path, tmp_path: Path) -> None:
    """Killed between the two, a run has announced it; one with larger shards removes what it does not need."""
    history, target, whole = history_of(codes), tmp_path / "shards", tmp_path / "whole"
    pack(codes, history, whole, TAR, size=1)
    pack(codes, history, target, TAR, size=1)
    values = json.loads((target / INDEX).read_text())
    killed = {**values, "shards": values["shards"][:1], "announced": [shard["name"] for shard in values["shards"]]}
    (target / INDEX).write_text(json.dumps(killed))
    assert pack(codes, history, target, TAR, size=1).written == 2
    assert (target / INDEX).read_bytes() == (whole / INDEX).read_bytes()
    (target / INDEX).write_text(json.dumps(killed))
    assert pack(codes, history, target, TAR, size=3).written == 1
    assert sorted(path.name for path in target.iterdir()) == ["000000.tar", INDEX]


@pytest.mark.parametrize(
    "index",
    [
        '{"pages": []}',
        "[1]",
        "7",
        '{"format_version": "1", "to": "webdataset", "shards": []}',
        '{"format_version": 1, "to": "webdataset", "shards": [7]}',
        '{"format_version": 1, "to": "webdataset", "shards": [], "announced": ["../mine.tar"]}',
        '{"format_version": 1, "to": "webdataset", "shards": [{"name": "../mine.tar", "files": 1, "seconds": 1,'
        ' "bytes": 1, "sha256": "", "contents": ""}]}',
    ],
)
def test_an_index_of_another_program_stays_as_it_is(codes: Path, tmp_path: Path, index: str) -> None:
    target = tmp_path / "site"
    put(tmp_path / "mine.tar", b"mine")
    put(target / INDEX, index.encode())
    with pytest.raises(OutputError, match="cannot be read as what 'apcodec pack' writes"):
        pack(codes, history_of(codes), target, TAR, size=1)
    assert (target / INDEX).read_text() == index and (tmp_path / "mine.tar").exists()
    assert [path.name for path in target.iterdir()] == [INDEX]


def test_what_stands_in_a_results_place_is_named(tmp_path: Path, speech: Audio) -> None:
    """As in a copy of the corpus that was taken for an empty folder: its files are not the codec's."""
    (tmp_path / "in").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "in" / f"{name}.wav", speech[:5000], 48_000)
    copy = shutil.copytree(tmp_path / "in", tmp_path / "out")
    for _ in range(2):
        answer = apcodec("transcode", tmp_path / "in", copy)
        assert answer.stderr.startswith("2 of 2 files not converted, because what stands in their place is no result")
        assert f"--overwrite replaces it: {copy / 'a.wav'}, {copy / 'b.wav'}" in answer.stderr
        assert "holds these results already" not in answer.stdout
    assert (copy / "a.wav").read_bytes() == (tmp_path / "in" / "a.wav").read_bytes()
    assert "not converted" not in apcodec("transcode", tmp_path / "in", copy, "--overwrite").stderr
    answer = apcodec("transcode", tmp_path / "in", copy)
    assert "holds these results already" in answer.stdout and not answer.stderr


def test_what_a_file_manager_keeps_does_not_fill_a_folder(codes: Path, tmp_path: Path) -> None:
    put(tmp_path / "shards" / ".DS_Store", b"\0\0\0\x01Bud1")
    put(tmp_path / "shards" / "._x", APPLE_DOUBLE)
    assert pack(codes, history_of(codes), tmp_path / "shards", TAR, size=3).written == 1


def test_a_file_that_appears_meanwhile_is_kept_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a memory stick, whose file system has none."""

    def no_links(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    with (
        pytest.raises(OutputError, match="has appeared meanwhile"),
        written_whole(tmp_path / "a.apc", overwrite=False) as partial,
    ):
        partial.write_bytes(b"ours")
        put(tmp_path / "a.apc", b"mine")
    assert [path.name for path in tmp_path.iterdir()] == ["a.apc"] and (tmp_path / "a.apc").read_bytes() == b"mine"
    with written_whole(tmp_path / "b.apc", overwrite=False) as partial:
        partial.write_bytes(b"ours")
    assert (tmp_path / "b.apc").read_bytes() == b"ours"
