"""The listening page in a real browser: it plays, it switches in step, and its blind test is honest."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_benchmarks.facts import Facts
from apcodec_benchmarks.measurements import ContenderRecord
from apcodec_benchmarks.report.listening import Listening, write_listening_report
from apcodec_benchmarks.results import Results

pytestmark = pytest.mark.slow  # a browser takes up to half a minute to start

Browser = Any
"""What the fixture ``chromium`` in ``conftest.py`` gives."""
RATE = 24_000
SECONDS = {"tones.wav": 2.0, "<b>&\"'.wav": 1.25}
TONES = {"original": 500, "low": 1_500, "high": 4_500}
"""Hz: so that what is heard tells which track it is."""
LISTEN = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (!(target instanceof AudioDestinationNode)) return connect.call(this, target, ...rest);
  const { context } = this;
  if (!context.ear) {
    context.ear = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
    connect.call(context.ear, target);
    window.ear = context.ear;
  }
  return connect.call(this, context.ear, ...rest);
};
"""
HEAR = """
if (!window.ear) return [0, -200, 0];
const levels = new Float32Array(window.ear.frequencyBinCount);
window.ear.getFloatFrequencyData(levels);
const top = levels.indexOf(Math.max(...levels));
return [top * window.ear.context.sampleRate / 2048, levels[top], window.ear.context.currentTime];
"""


def tone(frequency: float, seconds: float) -> NDArray[np.float32]:
    angle = 2 * np.pi * frequency * np.arange(round(RATE * seconds)) / RATE
    return np.asarray(0.3 * np.sin(angle), np.float32)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with two clips; each contender is a tone of its own."""

    def record(name: str) -> ContenderRecord:
        facts = Facts(title=f"{name} <i>", library="x", sample_rate=RATE, bitrate=6e3, frame=320, weights="none")
        return ContenderRecord(name=name, facts=facts)

    results = Results(
        made="2025-01-02T03:04:05+00:00",
        command="bench",
        environment={"a_long_name": "word" * 40},
        settings={},
        contenders=(record("low"), record("high"), ContenderRecord(name="gone", problem="no weights " * 20)),
    )
    clips = []
    for file, seconds in SECONDS.items():
        made = {name: tone(frequency, seconds) for name, frequency in TONES.items()}
        half = len(made["original"]) // 2
        if clips:  # the second one changes its tone on the way
            made["original"][half:] = made["low"][half:]
        clips.append(Listening(file=file, sample_rate=RATE, original=made.pop("original"), decoded=made))
    target = tmp_path_factory.mktemp("page") / "page.html"
    write_listening_report(target, results, clips)
    return target.as_uri()


@pytest.fixture
def browser(chromium: Browser, page: str) -> Browser:
    """The page, freshly opened, with an ear at its output."""
    for kind in ("browser", "performance"):
        chromium.messages(kind)
    chromium.ask("/url", {"url": page})
    chromium.run(LISTEN)
    return chromium


def position(browser: Browser) -> float:
    return float(browser.run("return Number(document.querySelector('.seek').value)"))


def heard(browser: Browser) -> str:
    """Which track sounds, by ear: when it has been the same for longer than a switch and what the ear remembers."""
    since: dict[str, float] = {}

    def listen() -> str | None:
        frequency, level, now = browser.run(HEAR)
        names = [name for name, each in TONES.items() if abs(each - frequency) < 30 and (level or -200) > -40]
        for name in set(since) - set(names):
            del since[name]
        return next((name for name in names if now - since.setdefault(name, now) > 0.15), None)

    return str(browser.until(listen))


def test_it_opens_without_an_error_or_a_request(browser: Browser, page: str) -> None:
    browser.click(".choose")
    browser.until(lambda: position(browser) > 0.1)
    assert browser.messages("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.messages("performance")]
    requests = [each["params"]["request"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked = {request["url"] for request in requests}
    assert page in asked  # so requests are seen at all
    # What Chromium asks of itself for a new tab is not the page's.
    assert {address for address in asked if not address.startswith(("data:", "chrome:"))} == {page}


def test_every_audio_element_loads_with_its_length(browser: Browser) -> None:
    browser.run("for (const each of document.querySelectorAll('audio')) { each.preload = 'auto'; each.load(); }")
    state = "return [...document.querySelectorAll('audio')].map((each) => [each.readyState, each.duration])"
    browser.until(lambda: all(ready >= 1 for ready, _ in browser.run(state)))
    expected = [seconds for seconds in SECONDS.values() for _ in TONES]
    assert [length for _, length in browser.run(state)] == pytest.approx(expected, abs=0.1)


def test_playing_moves_on_and_switching_keeps_the_place(browser: Browser) -> None:
    browser.click(".loop")
    browser.click(".choose", 0)
    assert heard(browser) == "original"
    for index, name in ((1, "low"), (2, "high"), (0, "original")):
        before, clock = position(browser), time.monotonic()
        browser.click(".choose", index)
        after = position(browser)
        assert (after - before) % 2.0 <= time.monotonic() - clock + 0.1
        assert heard(browser) == name
    browser.click(".play")
    stopped = position(browser)
    time.sleep(0.2)
    assert position(browser) == stopped


def test_a_clip_ends_and_another_one_silences_it(browser: Browser) -> None:
    browser.click("#clip-2 .choose", 1)
    browser.until(lambda: browser.run("return document.querySelector('#clip-2').classList.contains('playing')"))
    browser.click("#clip-1 .choose", 2)
    browser.until(lambda: browser.run("return document.querySelector('#clip-1').classList.contains('playing')"))
    assert not browser.run("return document.querySelector('#clip-2').classList.contains('playing')")
    assert heard(browser) == "high"
    browser.until(lambda: not browser.run("return document.querySelector('#clip-1').classList.contains('playing')"))
    assert position(browser) == pytest.approx(2.0, abs=0.01)


def test_a_click_into_a_spectrogram_and_keys_seek(browser: Browser) -> None:
    browser.run(
        "const it = document.querySelectorAll('.picture')[1], box = it.getBoundingClientRect();"
        "const place = {clientX: box.left + box.width / 4, clientY: box.top, bubbles: true};"
        "it.dispatchEvent(new MouseEvent('click', place))"
    )
    assert position(browser) == pytest.approx(0.5, abs=0.01)
    press = """
        const event = new KeyboardEvent('keydown', {key: arguments[0], bubbles: true});
        document.querySelector('.seek').dispatchEvent(event);
    """
    browser.run(press, "ArrowRight")
    assert position(browser) == pytest.approx(1.5, abs=0.01)
    browser.run(press, "3")
    browser.run(press, " ")
    assert heard(browser) == "high"


def test_sound_begins_where_the_cursor_is(browser: Browser) -> None:
    browser.run(
        "const it = document.querySelector('#clip-2 .seek'); it.value = 0.7; it.dispatchEvent(new Event('input'));"
    )
    browser.click("#clip-2 .choose", 0)
    assert heard(browser) == "low"


def begin(browser: Browser, kind: str, first: int, second: int, trials: int) -> None:
    browser.click(".open-blind")
    values = {".kind": kind, ".first": str(first), ".second": str(second), ".count": str(trials)}
    browser.run(
        "for (const [name, value] of Object.entries(arguments[0])) document.querySelector(name).value = value;", values
    )
    browser.click(".loop")
    browser.click(".begin")


def sessions(browser: Browser) -> Any:
    return json.loads(browser.run("return document.querySelector('.json').value"))["sessions"]


def test_abx_is_what_the_ear_says_and_its_result_is_what_was_voted(browser: Browser) -> None:
    begin(browser, "abx", 0, 2, 8)
    expected = []
    for trial in range(8):
        assert browser.run("return document.querySelector('.progress').textContent").startswith(
            f"Trial {trial + 1} of 8"
        )
        visible = browser.run("return document.querySelector('#clip-1').innerText")
        assert not any(name in visible for name in ("Original", "low <i>", "high <i>", "correct", "right"))
        assert browser.run("return [...document.querySelectorAll('.votes button')].every((each) => each.disabled)")
        sounds = {}
        for index, letter in enumerate("ABX"):
            browser.click(".letters button", index)
            sounds[letter] = heard(browser)
        assert {sounds["A"], sounds["B"]} == {"original", "high"}
        right = "A" if sounds["X"] == sounds["A"] else "B"
        vote = right if trial != 3 else {"A": "B", "B": "A"}[right]
        expected.append({**sounds, "vote": vote, "correct": trial != 3})
        browser.click(f".votes [data-vote={vote}]")
    assert "7 of 8 right" in browser.run("return document.querySelector('.verdict').textContent")
    (session,) = sessions(browser)
    assert session["pair"] == ["original", "high"]
    assert session["finished"]
    for trial, wanted in zip(session["trials"], expected, strict=True):
        assert {key: trial[key] for key in wanted} == wanted
    assert len({trial["A"] for trial in session["trials"]}) == 1
    assert session["correct"] == 7
    assert session["p_value"] == pytest.approx((math.comb(8, 7) + 1) / 2**8)


def test_a_switch_to_x_is_made_alike_whatever_x_is(browser: Browser) -> None:
    """Or else the switch itself would tell."""
    browser.run(
        "window.ramps = []; const ramp = AudioParam.prototype.linearRampToValueAtTime;"
        "AudioParam.prototype.linearRampToValueAtTime = function (value, time) {"
        "  window.ramps.push([value, Number((time - this.began).toFixed(4))]); return ramp.call(this, value, time); };"
        "const set = AudioParam.prototype.setValueAtTime;"
        "AudioParam.prototype.setValueAtTime = function (value, time) {"
        "  this.began = time; return set.call(this, value, time); };"
        "let throws = 0; crypto.getRandomValues = (bytes) => { bytes[0] = throws++; return bytes; };"
    )
    begin(browser, "abx", 0, 1, 4)
    switches = []
    for _ in range(4):
        browser.click(".letters button", 0)
        browser.until(lambda: browser.run("return document.querySelector('#clip-1').classList.contains('playing')"))
        time.sleep(0.1)
        browser.run("window.ramps.length = 0")
        browser.click(".letters button", 2)
        switches.append(sorted(browser.run("return window.ramps")))
        browser.click(".votes button")
    (session,) = sessions(browser)
    assert {trial["X"] for trial in session["trials"]} == {"original", "low"}
    assert all(each == switches[0] for each in switches)
    assert [value for value, _ in switches[0]] == [0] * 5 + [1]


def test_preferences_are_counted_for_whom_they_were_given(browser: Browser) -> None:
    begin(browser, "preference", 1, 2, 5)
    for trial in range(5):
        sounds = {}
        for index, letter in enumerate("AB"):
            browser.click(".letters button", index)
            sounds[heard(browser)] = letter
        assert set(sounds) == {"low", "high"}
        browser.click(".votes button", 2 if trial == 4 else "AB".index(sounds["low"]))
    (session,) = sessions(browser)
    assert session["preferred"] == {"low": 4, "high": 0}
    assert session["no_difference"] == 1
    assert session["p_value"] == pytest.approx(2 / 2**4)


def test_a_session_that_was_stopped_has_no_probability_and_can_be_saved(browser: Browser, tmp_path: Path) -> None:
    browser.control("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    begin(browser, "abx", 0, 1, 10)
    browser.click(".letters button", 2)
    browser.until(lambda: browser.run("return !document.querySelector('.votes button').disabled"))
    browser.click(".votes button")
    browser.click(".stop")
    (session,) = sessions(browser)
    assert (session["finished"], session["p_value"], len(session["trials"])) == (False, None, 1)
    browser.click(".download")
    saved = tmp_path / "listening-results.json"
    browser.until(saved.is_file)
    assert json.loads(saved.read_text(encoding="utf-8"))["sessions"] == [session]
    browser.click(".outcome .leave")
    assert "Original" in browser.run("return document.querySelector('#clip-1').innerText")


@pytest.mark.parametrize("successes", range(0, 17, 4))
def test_probabilities_are_binomial(browser: Browser, successes: int) -> None:
    expected = sum(math.comb(16, each) for each in range(successes, 17)) / 2**16
    assert browser.run("return atLeast(arguments[0], 16)", successes) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, width: int) -> None:
    browser.control("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=2, mobile=True)
    try:
        browser.run("for (const each of document.querySelectorAll('details')) each.open = true;")
        for step in ("", "document.querySelector('.open-blind').click()", "document.querySelector('.begin').click()"):
            browser.run(step)
            assert browser.run("return document.documentElement.scrollWidth") <= width
    finally:
        browser.control("Emulation.clearDeviceMetricsOverride")
