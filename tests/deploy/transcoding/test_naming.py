"""Output names follow from input names alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.transcoding.naming import TARGETS, as_name, as_text, is_input, output_name


@pytest.mark.parametrize(
    ("name", "to", "expected"),
    [
        ("a.flac", "apc", "a.flac.apc"),
        ("a.flac.apc", "apc", "a.flac.apc"),
        ("a.flac.apc", "flac", "a.flac"),
        ("a.flac.apc", "wav", "a.flac.wav"),
        ("a.flac", "wav", "a.flac.wav"),
        ("a.wav", "wav", "a.wav"),
        ("A.WAV", "wav", "A.WAV"),
        ("A.WAV.APC", "wav", "A.WAV"),
        ("a.1.wav", "wav", "a.1.wav"),
        ("a.2.mp3", "ogg", "a.2.mp3.ogg"),
        ("a.opus", "ogg", "a.opus.ogg"),
        ("a b\n.wav", "flac", "a b\n.wav.flac"),
        ("plain", "wav", "plain.wav"),
    ],
)
def test_names(name: str, to: str, expected: str) -> None:
    assert output_name(name, to) == expected


@pytest.mark.parametrize("to", TARGETS)
def test_names_that_differ_in_more_than_the_target_suffix_stay_apart(to: str) -> None:
    names = ["a.wav", "a.flac", "a.1.wav", "a.2.wav", "b.wav", "a.mp3"]
    assert len({output_name(name, to) for name in names}) == len(names)


@pytest.mark.parametrize("to", [to for to in TARGETS if to != "apc"])
def test_decoding_undoes_encoding_where_the_format_is_the_same(to: str) -> None:
    assert output_name(output_name(f"a.{to}", "apc"), to) == f"a.{to}"


def test_what_a_folder_run_takes() -> None:
    assert all(is_input(Path(name)) for name in ("a.wav", "a.FLAC", "a.ogg", "a.opus", "a.mp3", "a.wav.apc"))
    assert not any(is_input(Path(name)) for name in ("a.txt", "wav", ".wav", "a.wav.part", "cover.jpg"))


@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name))
def test_a_name_that_was_written_down_comes_back(data: bytes) -> None:
    name = os.fsdecode(data)
    assert as_name(as_text(name)) == name
    assert as_text(name).encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize("text", ["a\0b.wav", "\ud800.wav"])
def test_what_no_file_is_called_is_no_name(text: str) -> None:
    with pytest.raises(ValueError):
        as_name(text)
    assert as_text(text) == text
