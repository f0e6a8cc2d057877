"""``apcodec live`` with a stand-in for the sound card: what it hears comes out of the speaker, through the codec."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import apcodec
from numpy.typing import NDArray
from rich.console import Console

import apcodec_deploy
from apcodec_deploy.cli.meter import Meter
from apcodec_deploy.live.echo import SILENT_DB, Figures, level

RATE = 48_000


class PortAudioError(Exception):
    """As ``sounddevice`` raises it."""


class SoundCard(ModuleType):
    """The module ``sounddevice`` with a card in memory: its microphone hears ``hears``, ``played`` is what came out."""

    PortAudioError = PortAudioError

    def __init__(self, hears: NDArray[np.float32]) -> None:
        super().__init__("sounddevice")
        self.hears = hears
        self.played: list[NDArray[np.float32]] = []
        self.opened: dict[str, Any] = {}
        self.broken = ""

    def query_devices(self) -> str:
        return "> 0 a microphone\n< 1 a speaker"

    def Stream(self, **wanted: Any) -> SoundCardStream:
        return SoundCardStream(self, wanted, (0.010, 0.012))

    def OutputStream(self, **wanted: Any) -> SoundCardStream:
        return SoundCardStream(self, wanted, 0.1)


class SoundCardStream:
    def __init__(self, card: SoundCard, wanted: dict[str, Any], latency: Any) -> None:
        if card.broken:
            raise PortAudioError(card.broken)
        self.card, self.latency, card.opened = card, latency, wanted

    def __enter__(self) -> SoundCardStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.card.opened["closed"] = True

    def read(self, frames: int) -> tuple[NDArray[np.float32], bool]:
        """When it has heard everything, somebody presses Ctrl-C."""
        block, self.card.hears = self.card.hears[:frames], self.card.hears[frames:]
        if len(block) < frames:
            raise KeyboardInterrupt
        return block, len(self.card.played) == 2

    def write(self, audio: NDArray[np.float32]) -> bool:
        assert audio.dtype == np.float32 and audio.flags.c_contiguous
        self.card.played.append(audio.copy())
        return False


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SoundCard:
    audio = np.random.default_rng(0).standard_normal((RATE // 2, 1)) * 0.1
    made = SoundCard(audio.astype(np.float32))
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def expected(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model that is taken where none is named makes of audio."""
    with apcodec_deploy.load("demo-s") as codec:
        return codec.decode(codec.encode(audio))


def test_a_file_is_played_through_the_codec(card: SoundCard, tmp_path: Path) -> None:
    audio = np.random.default_rng(1).standard_normal((2, RATE)).astype(np.float32) * np.float32(0.1)
    soundfile.write(tmp_path / "a.wav", audio.T, RATE, subtype="FLOAT")
    ran = apcodec("live", "--file", tmp_path / "a.wav", "--output", "1", "--json")
    assert ran.exit_code == 0, ran.output
    played = np.concatenate(card.played).T
    np.testing.assert_array_equal(played[:, :280], 0)  # while the codec has nothing yet
    np.testing.assert_array_equal(played[:, 280 : 280 + RATE], expected(audio))
    assert card.opened == {
        "samplerate": RATE, "channels": 2, "dtype": "float32", "device": 1, "latency": "high", "closed": True,
    }  # fmt: skip
    figures = json.loads(ran.stdout)
    assert figures["algorithm_seconds"] == pytest.approx((600 + 320) / RATE) and figures["card_seconds"] == 0.1
    assert 0 < figures["compute_seconds_median"] <= figures["compute_seconds_p99"]
    assert "1.0 s: latency" in ran.stderr and "0 gaps" in ran.stderr


def test_a_file_of_another_rate_is_played_at_the_models(card: SoundCard, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(22_050), 22_050)
    ran = apcodec("live", "--file", tmp_path / "a.wav")
    assert ran.exit_code == 0, ran.output
    assert card.opened["samplerate"] == RATE
    assert 0 <= sum(map(len, card.played)) - RATE - 280 < 320


def test_the_microphone_is_heard_until_somebody_presses_ctrl_c(card: SoundCard) -> None:
    heard = card.hears.copy()
    ran = apcodec("live", "--input", "micro", "--tokens", "4")
    assert ran.exit_code == 0, ran.output
    played = np.concatenate(card.played)[280:]
    whole = expected(heard[: RATE // 2].T)
    assert len(played) > RATE // 2 - 5 * 320
    np.testing.assert_array_equal(played.T, whole[:, : len(played)])
    assert card.opened["device"] == ("micro", None) and card.opened["latency"] == "low"
    assert "+ 22.0 ms sound card" in ran.stderr and "1 gap" in ran.stderr


def test_it_ends_after_the_seconds_that_were_asked_for(card: SoundCard) -> None:
    ran = apcodec("live", "--seconds", "0.2", "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["seconds"] == pytest.approx(0.2, abs=0.02)


def test_devices_are_listed(card: SoundCard) -> None:
    ran = apcodec("live", "--devices")
    assert ran.exit_code == 0 and "a microphone" in ran.stdout and "a speaker" in ran.stdout


def test_a_card_that_cannot(card: SoundCard) -> None:
    card.broken = "Invalid sample rate"
    ran = apcodec("live")
    assert "48000 Hz, 1 channel: Invalid sample rate; --devices lists" in str(ran.exception)


def test_a_model_that_is_not_causal(card: SoundCard) -> None:
    assert "apcodec-s" in str(apcodec("live", "--model", "demo").exception)
    assert not card.opened


def test_without_sounddevice_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "apcodec-deploy[live]" in str(apcodec("live").exception)
    assert "apcodec-deploy[live]" in str(apcodec("live", "--devices").exception)


# The screen


class StillCard:
    seconds, gaps = 0.022, 2


def test_the_screen_shows_levels_latency_and_the_share_of_a_block() -> None:
    figures = Figures(block_seconds=0.02, algorithm_seconds=0.0258, level_in=-20.0, level_out=-200.0)
    figures.computed.extend([0.004] * 99 + [0.012])
    figures.blocks = 100
    meter = Meter(figures, "a model")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    meter._card = StillCard()  # type: ignore[assignment]
    console.print(meter.screen())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("a model", "-20 dB", "silent", "51.8 ms", "25.8 ms codec", "median 4.0 ms", "Ctrl-C", "2"):
        assert word in text
    assert text.count("█") == round(40 * (60 - 20) / 60)


def test_a_level_is_the_root_mean_square() -> None:
    assert level(np.full((1, 100), 0.1, np.float32)) == pytest.approx(-20, abs=1e-4)
    assert level(np.zeros((1, 0), np.float32)) == level(np.zeros((2, 9), np.float32)) == SILENT_DB
