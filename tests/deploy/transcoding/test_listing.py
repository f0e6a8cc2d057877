"""Lists of files: what a line may say, and what a wrong one costs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_deploy import Codec, EncodedAudio
from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.conversion import ConversionOptions
from apcodec_deploy.transcoding.job import run
from apcodec_deploy.transcoding.listing import Entry, plan_list, read_list


def listed(path: Path, text: str | bytes) -> list[Entry]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_list(str(path))


def targets(entries: list[Entry], tmp_path: Path, to: str = "apc") -> list[str]:
    tasks = plan_list(entries, tmp_path / "in", tmp_path / "out", to)
    assert not [task.problem for task in tasks if task.problem]
    return [task.target.relative_to(tmp_path / "out").as_posix() for task in tasks]


def test_lines_are_paths(tmp_path: Path) -> None:
    expected = [Entry("a.wav"), Entry(" b c.wav"), Entry("ü.wav")]
    assert listed(tmp_path / "list.txt", "a.wav\n b c.wav\r\n\nü.wav") == expected
    assert listed(tmp_path / "list", b"a.wav\0-b\nc.wav\0") == [Entry("a.wav"), Entry("-b\nc.wav")]
    with pytest.raises(AudioError, match="cannot be read"):
        read_list(str(tmp_path / "none"))


def test_standard_input_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a.wav\nb.wav\n")))
    assert read_list("-") == [Entry("a.wav"), Entry("b.wav")]


def test_tables_hold_parts_and_names(tmp_path: Path) -> None:
    expected = [
        Entry("a.wav", Span(1.5, 3.25)), Entry("a.wav", Span(4.0), "part"), Entry("b,c.wav", Span(0.0, 2.0)),
        Entry("d.wav"),
    ]  # fmt: skip
    csv = 'path,start,end,name\na.wav,1.5,3.25,\na.wav,4,,part\n"b,c.wav",,2,\nd.wav,,,\n'
    assert listed(tmp_path / "list.csv", csv) == expected
    lines = (
        '{"path": "a.wav", "start": 1.5, "end": 3.25}\n{"path": "a.wav", "start": 4, "name": "part"}\n\n'
        '{"path": "b,c.wav", "end": 2}\n{"path": "d.wav", "speaker": "x"}\n'
    )
    assert listed(tmp_path / "list.jsonl", lines) == expected
    assert targets(expected, tmp_path) == ["a.wav.1.500-3.250.apc", "part.apc", "b,c.wav.0.000-2.000.apc", "d.wav.apc"]
    assert targets(expected, tmp_path, "wav") == [
        "a.wav.1.500-3.250.wav", "part.wav", "b,c.wav.0.000-2.000.wav", "d.wav",
    ]  # fmt: skip
    assert targets([Entry("x/../deep/a.wav"), Entry("a.wav", Span(1.0)), Entry("a.wav", Span(1.0))], tmp_path) == [
        "deep/a.wav.apc", "a.wav.1.000-end.apc",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"path": "a.wav", "start": "x"}', "could not convert"),
        ('{"path": "a.wav", "start": 2, "end": 1}', "has no length"),
        ('{"path": "a.wav", "end": -1}', "has no length"),
        ('{"path": "a.wav", "start": [1]}', "float"),
        ('{"start": 1}', "names no path"),
        ('{"path": 7}', "names no path"),
        ("[1]", "names no path"),
        ("{", "names no path"),
        ('{"path": "../a.wav"}', "is not below"),
        ('{"path": "/a.wav"}', "is not below"),
        ('{"path": "."}', "is not below"),
        ('{"path": "a.wav", "name": "../b"}', "is not below"),
        ('{"path": "a.wav", "name": "/b"}', "is not below"),
    ],
)
def test_a_wrong_line_is_a_problem_of_its_own(tmp_path: Path, row: str, words: str) -> None:
    entries = listed(tmp_path / "list.jsonl", f'{{"path": "good.wav"}}\n{row}\n')
    good, bad = plan_list(entries, tmp_path / "in", tmp_path / "out", "apc")
    assert good.problem is None
    assert words in str(bad.problem)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is empty"):
        plan_list(listed(tmp_path / "list.csv", "path,start\n"), tmp_path, tmp_path / "out", "apc")


def test_parts_get_the_codes_of_their_samples(codec: Codec, tmp_path: Path, speech: NDArray[np.float32]) -> None:
    (tmp_path / "in").mkdir()
    speech = speech[:96_000]
    soundfile.write(tmp_path / "in" / "a.wav", speech, 48_000, subtype="FLOAT")
    entries = [
        Entry("a.wav", Span(0.5, 1.25)),
        Entry("a.wav", Span(1.5, None), "rest"),
        Entry("a.wav", Span(1.0, 99.0)),
    ]
    tasks = plan_list(entries, tmp_path / "in", tmp_path / "out", "apc")
    report = run(codec, tasks, ConversionOptions(form=None))
    assert [str(result.outcome) for result in report.results] == ["done", "done", "failed"]
    for name, samples in (("a.wav.0.500-1.250", slice(24_000, 60_000)), ("rest", slice(72_000, None))):
        found, expected = EncodedAudio.load(tmp_path / "out" / f"{name}.apc"), codec.encode(speech[samples])
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert found.samples == expected.samples
