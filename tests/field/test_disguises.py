"""What stands under the names of audio and of codes after a download or a clone that went wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from field_clips import encoded, from_path, from_pipe

from apcodec_deploy import EncodedAudio
from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.errors import AudioError, BitstreamError

DISGUISES = [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 27605512\n", "Git LFS pointer.*git lfs pull"),
    (b"\n<!DOCTYPE html><html><title>Sign in", "a web page.*download the file itself"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "a web page"),
    (bytes(5000), "nothing but zeros; copy or download it again"),
    (gzip.compress(encoded("WAV", "PCM_16")), "a gzip archive; unpack it"),
    (b"", "it is empty"),
]


@pytest.mark.parametrize(("data", "words"), DISGUISES)
def test_it_is_called_what_it_is(tmp_path: Path, data: bytes, words: str) -> None:
    for name in ("a.wav", "a.mp3", "a.m4a"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AudioError, match=rf"{name}.*{words}"):
            open_audio(tmp_path / name)
    for read in (from_path, from_pipe):
        with pytest.raises(AudioError, match=rf"a\.wav cannot be read as audio: .*{words}"):
            read(tmp_path / "a.wav")
    (tmp_path / "a.apc").write_bytes(data)
    with pytest.raises(BitstreamError, match=rf"a\.apc: not a \.apc file: .*{words}"):
        EncodedAudio.load(tmp_path / "a.apc")


def test_other_bytes_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.apc").write_bytes(b"RIFF")
    with pytest.raises(BitstreamError, match="it starts with b'RIFF'"):
        EncodedAudio.load(tmp_path / "a.apc")
    with pytest.raises(AudioError, match="Format not recognised"):
        from_path(tmp_path / "a.apc")
