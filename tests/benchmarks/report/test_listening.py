"""The listening page as a file: what it holds, what it says of whom, and that names stay text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_benchmarks.facts import Facts, Weights
from apcodec_benchmarks.measurements import Case, ContenderRecord, Distribution, Quality, Timing
from apcodec_benchmarks.report.listening import Listening, write_listening_report
from apcodec_benchmarks.report.listening_figures import RANDOM, MetricColumn
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError, OutputError

RATE = 16_000
METRICS = (
    MetricColumn(name="snr", title="SNR, dB", higher_is_better=True, digits=1, about="of the waveform."),
    MetricColumn(name="lsd", title="LSD", higher_is_better=False, digits=3),
)
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;<!--$data\udcff\ud800 \u2028"
VOID = {"meta", "link", "img", "input", "rect", "line"}


class Page(HTMLParser):
    """A page taken apart: every element must be closed in its order."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = file.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def within(self, tag: str) -> list[str]:
        return [text for place, text in self.texts if place == tag]

    def audio(self) -> list[tuple[NDArray[np.float64], int]]:
        sources = [str(attributes["src"]) for tag, attributes in self.elements if tag == "audio"]
        return [soundfile.read(io.BytesIO(base64.b64decode(each.partition("base64,")[2]))) for each in sources]

    def data(self) -> Any:
        return json.loads(self.within("script")[0])

    def row(self, words: str) -> str:
        """The source of the table's row that holds these words."""
        (row,) = [each for each in re.findall("<tr>.*?</tr>", self.source, re.DOTALL) if words in each]
        return str(row)


def record(name: str, weights: Weights = "trained", title: str | None = None) -> ContenderRecord:
    facts = Facts(
        title=title or name.title(), library="numpy", sample_rate=RATE, bitrate=6000, frame=320, weights=weights
    )
    return ContenderRecord(name=name, facts=facts)


def quality(contender: str, file: str, **metrics: float) -> Quality:
    return Quality(contender=contender, file=file, seconds=0.5, bitrate=6000, metrics=metrics)


def timing(contender: str, rtf: float, seconds: float = 10.0, batch: int = 1) -> Timing:
    case = Case(operation="round_trip", seconds=seconds, batch=batch)
    times = Distribution((rtf * seconds * batch,))
    return Timing(contender=contender, mode="latency", threads=2, case=case, times=times)


def results(*contenders: ContenderRecord, **parts: Any) -> Results:
    return Results(
        made="2025-01-02T03:04:05+00:00",
        command="bench",
        environment={"cpu": "x", "packages": {"numpy": "2"}},
        settings={},
        contenders=contenders,
        **parts,
    )


def clip(file: str, *names: str, seconds: float = 0.5) -> Listening:
    rng = np.random.default_rng(len(names))
    made = [rng.uniform(-1, 1, round(RATE * seconds)).astype(np.float32) for _ in range(1 + len(names))]
    return Listening(file=file, sample_rate=RATE, original=made[0], decoded=dict(zip(names, made[1:], strict=True)))


def test_audio_comes_back_within_16_bits_and_what_is_clipped_is_counted(tmp_path: Path) -> None:
    heard = clip("a.wav", "one", "two")
    heard.decoded["two"][[3, 4, 5]] = 1.5, -2.0, np.nan
    heard.decoded["two"][6:8] = 1.0, -1.0
    write_listening_report(tmp_path / "page.html", results(record("one"), record("two")), [heard])
    page = Page(tmp_path / "page.html")
    found = page.audio()
    assert [rate for _, rate in found] == [RATE] * 3
    for (audio, _), expected in zip(found, [heard.original, *heard.decoded.values()], strict=True):
        wanted = np.clip(np.nan_to_num(expected), -1, 1 - 1 / 32768)
        assert np.abs(audio - wanted).max() <= 0.5 / 32768 + 1e-9
    assert "2 samples beyond full scale clipped" in page.within("small")
    assert "1 samples that are no numbers silenced" in page.within("small")


def test_names_stay_text_whatever_is_in_them(tmp_path: Path) -> None:
    contenders = (record("good"), record(HOSTILE, title=HOSTILE), ContenderRecord(name="bad", problem=HOSTILE))
    rows = (replace(quality(HOSTILE, HOSTILE, **{HOSTILE: 1.0}), against=HOSTILE, agreement=(0.5,)),)
    given = replace(results(*contenders, quality=rows), command=HOSTILE, environment={HOSTILE: {HOSTILE: [HOSTILE]}})
    write_listening_report(tmp_path / "page.html", given, [clip(HOSTILE, "good", HOSTILE)])
    page = Page(tmp_path / "page.html")
    clean = HOSTILE.replace("\udcff", "\\udcff").replace("\ud800", "\\ud800")
    kinds = {tag for tag, _ in page.elements}
    assert [attributes.get("type") for tag, attributes in page.elements if tag == "script"] == [
        "application/json",
        None,
    ]
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert not kinds & {"iframe", "object", "embed", "base"}
    assert page.data()["clips"][0]["file"] == clean
    assert page.data()["clips"][0]["tracks"][2] == {"name": clean, "title": clean}
    assert page.data()["command"] == clean
    assert clean in page.within("bdi")
    assert f"did not run: {clean}" in page.within("td")


def test_the_page_asks_nobody_for_anything_and_runs_only_its_own_script(tmp_path: Path) -> None:
    write_listening_report(tmp_path / "page.html", results(record("one")), [clip("a.wav", "one")])
    page = Page(tmp_path / "page.html")
    without_data = re.sub(r"data:[a-z]+/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page.source)
    assert not re.findall(r"//\S|\w+:/", without_data)  # no address; a comment has a space
    assert "@import" not in page.source
    assert "url(" not in page.source
    for tag, attributes in page.elements:
        for key in ("src", "href"):
            assert str(attributes.get(key) or "data:").startswith("data:"), tag
    (policy,) = (
        str(attributes["content"])
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["media-src"] == allowed["img-src"] == "data:"
    for kind, text in (("script-src", page.within("script")[-1]), ("style-src", page.within("style")[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[kind] == f"'sha256-{digest}'"


def test_a_page_that_would_be_too_large_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    clips = [clip(f"{index}.wav", "one") for index in range(4)]
    with pytest.raises(BenchmarkError, match=r"first [23] of 4 clips takes .* fewer or shorter clips"):
        write_listening_report(tmp_path / "page.html", results(record("one")), clips, max_bytes=150_000)
    assert list(tmp_path.iterdir()) == []


def test_those_that_did_not_run_are_listed_with_their_reason(tmp_path: Path) -> None:
    failed = Quality(contender="one", file="b.wav", seconds=0.5, problem="it died of signal 11")
    given = results(
        record("one"), ContenderRecord(name="two", problem="no checkpoint"), quality=(quality("one", "a.wav"), failed)
    )
    write_listening_report(tmp_path / "page.html", given, [clip("a.wav", "one"), clip("b.wav")])
    page = Page(tmp_path / "page.html")
    assert "did not run: no checkpoint" in page.row("two")
    assert page.within("small").count("no audio: no checkpoint") == 2
    assert page.within("small").count("no audio: it died of signal 11") == 1
    assert [len(each["tracks"]) for each in page.data()["clips"]] == [2, 1]


def test_random_weights_are_marked_and_win_in_speed_only(tmp_path: Path) -> None:
    given = results(
        record("random", "random"),
        record("good"),
        record("poor", "none"),
        quality=(
            quality("random", "a.wav", snr=99.0, lsd=0.1),
            quality("good", "a.wav", snr=12.3, lsd=1.0),
            quality("poor", "a.wav", snr=2.5, lsd=1.5),
        ),
        timings=(timing("random", 0.01), timing("good", 0.5), timing("poor", 2.0)),
    )
    write_listening_report(tmp_path / "page.html", given, [clip("a.wav", "random", "good", "poor")], metrics=METRICS)
    page = Page(tmp_path / "page.html")
    bold = {name: re.findall("<strong>(.*?)</strong>", page.row(f">{name}<")) for name in ("Random", "Good", "Poor")}
    assert bold == {"Random": ["0.0100"], "Good": ["12.3", "1.000"], "Poor": []}
    assert RANDOM in page.row(">Random<")
    assert "99.0" in page.row(">Random<")
    assert page.within("small").count(RANDOM) == 1  # at the clip, too
    assert page.within("dd").count("99.0") == 1
    assert page.within("strong").count("12.3") == 2


def test_a_mean_over_fewer_files_is_not_ranked(tmp_path: Path) -> None:
    given = results(
        record("one"),
        record("two"),
        record("three"),
        quality=(
            *(quality("one", file, snr=value) for file, value in (("a", 1.0), ("b", 2.0))),
            *(quality("two", file, snr=value) for file, value in (("a", 1.0), ("b", 4.0))),
            quality("three", "a", snr=9.0),
        ),
    )
    write_listening_report(tmp_path / "page.html", given, [clip("a", "one", "two", "three")], metrics=METRICS)
    page = Page(tmp_path / "page.html")
    assert "<strong>2.5</strong>" in page.row(">Two<")
    assert "<strong>" not in page.row(">Three<")
    assert "1 of 2 files, not ranked" in page.row(">Three<")


def test_speeds_are_those_of_the_case_that_most_have_in_common(tmp_path: Path) -> None:
    speed = results(
        record("one"),
        record("two"),
        timings=(timing("one", 0.9, batch=8), timing("one", 0.3, 1.0), timing("one", 0.123), timing("two", 0.456)),
    )
    given = results(record("one"), record("two"))
    write_listening_report(tmp_path / "page.html", given, [clip("a", "one")], speed=speed)
    page = Page(tmp_path / "page.html")
    assert "0.123" in page.row(">One<")
    assert "0.456" in page.row(">Two<")
    assert any("one clip of 10 s at a time, 2 CPU threads" in text for text in page.within("figcaption"))


def test_an_existing_file_is_replaced_only_when_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_listening_report(target, results(record("one")), [clip("a", "one")])
    assert target.read_text() == "mine"
    write_listening_report(target, results(record("one")), [clip("a", "one")], overwrite=True)
    assert len(Page(target).audio()) == 2
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("length", [0, 7_999, 8_001])
def test_audio_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    heard = replace(clip("a.wav"), decoded={"one": np.zeros(length, np.float32)})
    with pytest.raises(BenchmarkError, match=r"one of a\.wav has"):
        write_listening_report(tmp_path / "page.html", results(record("one")), [heard])


def test_a_page_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no clip"):
        write_listening_report(tmp_path / "page.html", results(record("one")), [])
