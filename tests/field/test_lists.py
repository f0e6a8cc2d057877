"""Lists of files as spreadsheets, editors and people save them: the same list, whatever it is wrapped in."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import apcodec

from apcodec_deploy.audio.span import Span
from apcodec_deploy.errors import AudioError
from apcodec_deploy.transcoding.folder import Task
from apcodec_deploy.transcoding.listing import Entry, plan_list, read_list

PLAIN = ["a.wav", "ü b.wav", "deep/c,d.wav"]
PARTS = [Entry("a.wav", Span(1.5, 3.25)), Entry("ü b.wav", Span(0.0, 2.0), "part"), Entry("deep/c,d.wav")]
ROWS = [("Path", " START", "End", "Name", "speaker"), ("a.wav", "1.5", "3.25", "", "x"),
        ("ü b.wav", "", "2", "part", "y"), ("deep/c,d.wav", "", "", "", "")]  # fmt: skip
WRAPPINGS = {
    "plain": ("utf-8", ""),
    "mark": ("utf-8", "\ufeff"),
    "UTF-16 LE": ("utf-16-le", "\ufeff"),
    "UTF-16 BE": ("utf-16-be", "\ufeff"),
    "UTF-16 LE without a mark": ("utf-16-le", ""),
    "UTF-16 BE without a mark": ("utf-16-be", ""),
}


def listed(path: Path, data: bytes | str) -> list[Entry]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_list(str(path))


def planned(entries: list[Entry], root: Path) -> list[Task]:
    return plan_list(entries, root / "in", root / "out", "apc")


def delimited(delimiter: str, *, quoted: bool = False, comma: bool = False) -> list[str]:
    """The lines of a table, its numbers with a decimal comma where wanted."""

    def cell(text: str) -> str:
        if comma and text.replace(".", "").isdecimal():
            text = text.replace(".", ",")
        return f'"{text}"' if quoted or delimiter in text else text

    return [delimiter.join(cell(text) for text in row) for row in ROWS]


@pytest.mark.parametrize(("encoding", "mark"), WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("tail", [0, 3], ids=["", "empty lines"])
def test_every_wrapping_of_every_kind_is_the_same_list(
    tmp_path: Path, encoding: str, mark: str, end: str, tail: int
) -> None:
    def wrapped(lines: list[str], empty: str = "") -> bytes:
        return (mark + end.join([*lines, *[empty] * tail, ""])).encode(encoding)

    for name in ("list.txt", "list", "list.lst"):
        assert [entry.path for entry in listed(tmp_path / name, wrapped(PLAIN))] == PLAIN
    for delimiter, names in (
        (",", ["l.csv", "l.txt"]),
        (";", ["l.csv", "l.txt"]),
        ("\t", ["l.csv", "l.tsv", "l.txt", "l"]),
    ):
        for quoted in (False, True):
            for comma in (False, True):
                lines = delimited(delimiter, quoted=quoted, comma=comma)
                data = wrapped(lines, delimiter * 4)
                for name in names:
                    assert listed(tmp_path / name, data) == PARTS, (name, delimiter, quoted, comma)
    objects = [dict(zip(ROWS[0], row, strict=True)) for row in ROWS[1:]]
    assert listed(tmp_path / "l.jsonl", wrapped([json.dumps(each, ensure_ascii=False) for each in objects])) == PARTS


def test_standard_input_takes_what_a_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for data, expected in (
        ("\ufeffa.wav\r\nb.wav\r\n".encode("utf-16-le"), [Entry("a.wav"), Entry("b.wav")]),
        (b"\xef\xbb\xbfPath;Start\r\na.wav;1,5\r\n", [Entry("a.wav", Span(1.5))]),
        (b"./a\nb.wav\0c.wav\0", [Entry("./a\nb.wav"), Entry("c.wav")]),
    ):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        assert read_list("-") == expected


def test_one_column_needs_no_quotes(tmp_path: Path) -> None:
    for header in ("path", '"Path"', "PATH;", "\ufeffpath"):
        assert [entry.path for entry in listed(tmp_path / "l.csv", f'{header}\nc,d.wav\n"e,f.wav"\n')] == [
            "c,d.wav",
            "e,f.wav",
        ], header
    assert [entry.path for entry in listed(tmp_path / "l.txt", "path\na.wav\n")] == ["a.wav"]


def test_a_table_may_say_what_stands_between_its_cells(tmp_path: Path) -> None:
    assert listed(tmp_path / "l.csv", "sep=;\r\npath;start\r\na,b.wav;1,250\r\n") == [Entry("a,b.wav", Span(1.25))]
    assert listed(tmp_path / "l.csv", '\ufeff"sep=|"\r\npath|start\r\na,b.wav|1\r\n') == [Entry("a,b.wav", Span(1.0))]


def test_a_duration_says_where_a_part_ends(tmp_path: Path) -> None:
    """Manifests of corpora have it in place of an end, and as the length of a whole file."""
    expected = [Entry("a.wav", Span(0.5, 0.75)), Entry("b.wav", Span(0.5, 0.6)), Entry("c.wav")]
    text = "path,start,end,duration\na.wav,0.5,,0.25\nb.wav,0.5,0.6,7\nc.wav,,,3\n"
    assert listed(tmp_path / "l.csv", text) == expected
    assert listed(tmp_path / "l.jsonl", '{"path": "a.wav", "start": 0.5, "duration": 0.25}\n') == expected[:1]
    (entry,) = listed(tmp_path / "l.csv", "path,start,duration\na.wav,1,0\n")
    assert "from 1 s to 1 s has no length" in str(entry.problem)


def test_a_comma_that_could_be_either_is_not_guessed(tmp_path: Path) -> None:
    (entry,) = listed(tmp_path / "l.csv", 'path,start\na.wav,"1,250"\n')
    assert "start 1,250 can be 1.250 or 1250" in str(entry.problem)
    for text, start in (("0,250", 0.25), ("1,25", 1.25), ("12,5", 12.5), ("1250", 1250.0), ("1.250", 1.25)):
        assert listed(tmp_path / "l.csv", f'path,start\na.wav,"{text}"\n') == [Entry("a.wav", Span(start))]
    for text in ("1.234,5", "1,234.5", "00:01", "1,2,3", "nan"):
        (entry,) = listed(tmp_path / "l.csv", f'path;start\na.wav;"{text}"\n')
        assert entry.problem is not None, text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.csv", "File;Start\na.wav;1\n", "its first line has 'file', 'start'; expected are the column path"),
        ("l.csv", "a.wav\nb.wav\n", "its first line has 'a.wav'"),
        ("l.csv", "pfad,start\n", "'pfad', 'start'"),
        ("l.tsv", "path;start\na.wav;1\n", "its first line has 'path;start'"),
        ("l.csv", "path,start,Start\na.wav,1,2\n", "names the column start twice"),
        ("l.csv", b"\xff\xfep\0a\0t\0h", "begins as UTF-16"),
        ("l.csv", "\ufeff", "is empty"),
        ("l.csv", "path;start\r\n;\r\n", "is empty"),
        ("l.jsonl", "\ufeff\r\n", "is empty"),
        ("l.txt", "\r\n \r\n", "is empty"),
    ],
)
def test_what_is_no_list_is_told_by_what_was_found(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    with pytest.raises(AudioError) as refused:
        planned(listed(tmp_path / name, text), tmp_path)
    assert words in str(refused.value)


def test_a_row_that_does_not_fit_its_header_is_a_problem_of_its_own(tmp_path: Path) -> None:
    text = "path,start\na,b.wav,1\na.wav,1\n,2\nc.wav,1,,\n"
    first, second, third, fourth = listed(tmp_path / "l.csv", text)
    assert "has 3 cells, its header 2" in str(first.problem)
    assert "names no path; it has path, start" in str(third.problem)
    assert (second, fourth) == (Entry("a.wav", Span(1.0)), Entry("c.wav", Span(1.0)))
    (entry,) = listed(tmp_path / "l.jsonl", '{"audio_filepath": "a.wav", "duration": 1}')
    assert "names no path; it has audio_filepath, duration" in str(entry.problem)
    (entry,) = listed(tmp_path / "l.jsonl", '{"path": "a\\u0000.wav"}')
    assert "zero byte" in str(entry.problem)


def test_blanks_and_quotes_around_a_name_are_not_part_of_it_unless_there_is_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav", " b.wav", '"c.wav"'):
        (tmp_path / "in" / name).write_bytes(b"RIFF")
    lines = [" a.wav", "a.wav\t", "\u00a0a.wav ", '"a.wav"', " b.wav", "b.wav", '"c.wav"', '"d ""e"".wav"']
    expected = ["a.wav", " b.wav", "b.wav", '"c.wav"', 'd "e".wav']
    tasks = planned(listed(tmp_path / "l.txt", "\n".join(lines)), tmp_path)
    assert [task.source.name for task in tasks] == expected and not any(task.problem for task in tasks)
    assert [task.target.name for task in tasks] == [f"{name}.apc" for name in expected]
    for text in ("path , start \n a.wav , 1.5 \na.wav,1.5\n", "path;start\n a.wav;1,5\n", "path\tstart\na.wav \t1.5\n"):
        (task,) = planned(listed(tmp_path / "l.csv", text), tmp_path)
        assert (task.source.name, task.span, task.problem) == ("a.wav", Span(1.5), None)
    (task,) = planned(listed(tmp_path / "l.jsonl", '{" Path ": " a.wav ", "START": " 1,5 "}'), tmp_path)
    assert (task.source.name, task.span) == ("a.wav", Span(1.5))


def test_names_of_another_encoding_are_bytes_or_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    latin = os.fsdecode("ä.wav".encode("latin-1"))
    (tmp_path / "in" / latin).write_bytes(b"RIFF")
    for name, data in (
        ("l.txt", "ä.wav\r\nö.wav\r\n"),
        ("l.csv", "path;start\r\nä.wav;\r\nö.wav;\r\n"),
        ("l.jsonl", '{"path": "ä.wav"}\r\n{"path": "ö.wav"}\r\n'),
    ):
        there, missing = planned(listed(tmp_path / name, data.encode("latin-1")), tmp_path)
        assert there.source == tmp_path / "in" / latin and there.problem is None
        assert "the list is not in UTF-8" in str(missing.problem)
    composed = unicodedata.normalize("NFC", "ö.wav")
    (task,) = planned(listed(tmp_path / "l.txt", composed), tmp_path)
    assert task.problem is None  # reading tells that it is not there


def test_absolute_paths_are_taken_by_whatever_name_of_the_input_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "in").symlink_to("real")
    for path in (tmp_path / "real" / "a.wav", tmp_path / "in" / "a.wav"):
        (task,) = planned(listed(tmp_path / "l.txt", str(path)), tmp_path)
        assert (task.target, task.problem) == (tmp_path / "out" / "a.wav.apc", None)


def test_the_command_takes_what_excel_saves(tmp_path: Path, examples: Path) -> None:
    text = "Path;Start;End\r\nspeech_female_48k.wav;0,5;1,0\r\n;;\r\n"
    (tmp_path / "list.csv").write_bytes(codecs.BOM_UTF8 + text.encode())
    answer = apcodec("transcode", examples, tmp_path / "out", "--to", "apc", "--files-from", tmp_path / "list.csv")
    assert answer.exit_code == 0, answer.stderr
    assert (tmp_path / "out" / "speech_female_48k.wav.0.500-1.000.apc").is_file()
