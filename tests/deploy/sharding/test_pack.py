"""Shards, read back by the field's own readers, and what a run that ends early leaves to the next."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tarfile
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apcodec_deploy import Codec, EncodedAudio
from apcodec_deploy.errors import OutputError
from apcodec_deploy.sharding import formats
from apcodec_deploy.sharding import pack as packing
from apcodec_deploy.sharding.formats import SHARD_FORMATS
from apcodec_deploy.sharding.pack import INDEX, pack
from apcodec_deploy.sharding.sample import key_of
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.folder import plan_folder
from apcodec_deploy.transcoding.job import JobOptions, run
from apcodec_deploy.transcoding.manifest import Manifest
from apcodec_deploy.transcoding.record import Settings
from apcodec_deploy.transcoding.verification import history_of

TAR, PARQUET = SHARD_FORMATS["webdataset"], SHARD_FORMATS["parquet"]
KEYS = ["a%2Ewav", "deep%2Er/b%2Ewav", "stereo%2Ewav"]


@pytest.fixture(scope="module")
def made(codec: Codec, tmp_path_factory: pytest.TempPathFactory, speech: NDArray[np.float32]) -> Path:
    """Codes of three files, one of them stereo at another rate, with their manifest."""
    root = tmp_path_factory.mktemp("made")
    (root / "in" / "deep.r").mkdir(parents=True)
    soundfile.write(root / "in" / "a.wav", speech[:9_000], 48_000)
    soundfile.write(root / "in" / "deep.r" / "b.wav", speech[:20_011], 48_000)
    soundfile.write(root / "in" / "stereo.wav", speech[:30_000].reshape(-1, 2), 16_000)
    settings = Settings(model=codec.fingerprint, backend="onnxruntime", precision="float32", to="apc")
    with Manifest.open(root / "codes", settings, fresh=False) as manifest:
        tasks = plan_folder(root / "in", root / "codes", "apc")
        run(codec, tasks, ConversionOptions(form=None), JobOptions(jobs=2), manifest=manifest)
    return root / "codes"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files to the collector
def test_webdataset_reads_what_was_packed(made: Path, tmp_path: Path) -> None:
    packed = pack(made, history_of(made), tmp_path / "shards", TAR, size=2)
    assert names(tmp_path / "shards") == ["000000.tar", "000001.tar", INDEX]
    assert [(shard.files, packed.written) for shard in packed.shards] == [(2, 2), (1, 2)]
    urls = [str(tmp_path / "shards" / shard.name) for shard in packed.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()
    assert [sample["__key__"] for sample in samples] == KEYS
    for sample in samples:
        path = unquote_to_bytes(sample["__key__"]).decode()
        encoded = EncodedAudio.load(made / f"{path}.apc")
        np.testing.assert_array_equal(sample["codes.npy"], encoded.codes)
        assert sample["codes.npy"].dtype == np.uint16
        facts = sample["json"]
        assert (facts["samples"], facts["sample_rate"]) == (encoded.samples, encoded.sample_rate)
        assert (facts["channels"], facts["codebooks"], facts["latents"]) == sample["codes.npy"].shape
        assert facts["latent_rate"] == 150 and facts["source"].endswith(path)


def test_pyarrow_reads_what_was_packed(made: Path, tmp_path: Path) -> None:
    pack(made, history_of(made), tmp_path / "shards", PARQUET, size=1000)
    table = pyarrow.parquet.read_table(tmp_path / "shards" / "000000.parquet")
    rows = table.to_pylist()
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        encoded = EncodedAudio.load(made / f"{unquote_to_bytes(row['key']).decode()}.apc")
        codes = np.array(row["codes"], np.uint16).reshape(row["channels"], row["codebooks"], row["latents"])
        np.testing.assert_array_equal(codes, encoded.codes)
        assert row["samples"] == encoded.samples and row["seconds"] == encoded.duration


@pytest.mark.parametrize("form", [TAR, PARQUET], ids=lambda form: form.name)
def test_the_same_codes_make_the_same_bytes_anywhere(
    made: Path, tmp_path: Path, form: formats.ShardFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(made, history_of(made), tmp_path / "a", form, size=2)
    monkeypatch.setattr("time.time", lambda: 1.0)
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    pack(copy, history_of(copy), tmp_path / "b", form, size=2)
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_run_that_ended_early_is_gone_on_with(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, target = tmp_path / "whole", tmp_path / "shards"
    history = history_of(made)
    pack(made, history, whole, TAR, size=1)

    class Killed(BaseException):
        pass

    genuine = packing.written_whole
    for stop in range(1, 8):
        calls = 0

        def dying(path: Path, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == stop:  # noqa: B023
                raise Killed
            return genuine(path, **options)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(packing, "written_whole", dying)
            with pytest.raises(Killed):
                pack(made, history, target, TAR, size=1)
        packed = pack(made, history, target, TAR, size=1)
        assert packed.written == 3 - max(0, stop - 2) // 2
        assert {name: (target / name).read_bytes() for name in names(target)} == {
            name: (whole / name).read_bytes() for name in names(whole)
        }
        shutil.rmtree(target)


def test_what_is_up_to_date_is_left_and_what_is_not_is_replaced(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "shards"
    history = history_of(made)
    assert pack(made, history, target, TAR, size=1).written == 3
    assert pack(made, history, target, TAR, size=1).written == 0
    (target / "000001.tar").unlink()
    assert pack(made, history, target, TAR, size=1).written == 1
    assert pack(made, history, target, TAR, size=2).written == 2
    assert names(target) == ["000000.tar", "000001.tar", INDEX]
    index = json.loads((target / INDEX).read_text())
    assert index["files"] == 3 and index["to"] == "webdataset"


def test_codes_that_are_not_what_was_written_are_refused(made: Path, tmp_path: Path) -> None:
    codes = Path(shutil.copytree(made, tmp_path / "codes"))
    history = history_of(codes)
    data = bytearray((codes / "a.wav.apc").read_bytes())
    data[-1] ^= 1
    (codes / "a.wav.apc").write_bytes(data)
    with pytest.raises(OutputError, match=r"a\.wav\.apc is not what was written"):
        pack(codes, history, tmp_path / "shards", TAR, size=2)
    assert names(tmp_path / "shards") == [INDEX]
    (codes / "a.wav.apc").unlink()
    with pytest.raises(OutputError, match="No such file"):
        pack(codes, history, tmp_path / "shards", TAR, size=2)


def test_a_folder_of_other_things_is_left_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other things than shards"):
        pack(made, history_of(made), tmp_path / "full", TAR, size=2)
    pack(made, history_of(made), tmp_path / "shards", TAR, size=2)
    with pytest.raises(OutputError, match="holds shards of webdataset"):
        pack(made, history_of(made), tmp_path / "shards", PARQUET, size=2)
    (tmp_path / "shards" / INDEX).write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        pack(made, history_of(made), tmp_path / "shards", TAR, size=2)


def test_members_of_a_tar_say_nothing_of_the_machine(made: Path, tmp_path: Path) -> None:
    pack(made, history_of(made), tmp_path / "shards", TAR, size=9)
    with tarfile.open(tmp_path / "shards" / "000000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name), unique=True, max_size=5))
def test_keys_have_no_dots_and_give_the_path_back(paths: list[bytes]) -> None:
    keys = [key_of(f"{os.fsdecode(path)}.apc") for path in paths]
    assert len(set(keys)) == len(keys)
    for key, path in zip(keys, paths, strict=True):
        assert "." not in key and key.isascii() and key.isprintable() and " " not in key
        assert unquote_to_bytes(key) == path
