"""Contenders in processes of their own: what is timed is what they cost, and whatever they do is told, not suffered."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import benchmark_stand_ins
import numpy as np
import pytest
import soundfile

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.measurements import Case
from apcodec_benchmarks.timing import Schedule, rounds
from apcodec_benchmarks.workers.process import Worker
from apcodec_deploy.errors import ContenderError

Named = Callable[[str], Entry]
SETTINGS = Settings(threads=1)
SECONDS = 2.0
ENCODE, DECODE = benchmark_stand_ins.ENCODE, benchmark_stand_ins.DECODE
SLACK = 0.4
"""How much longer than asked the least disturbed call may take, as a share; a shared machine can disturb all others."""


def least(worker: Worker, case: Case, calls: int = 5) -> float:
    seconds, _ = worker.time(case, calls)
    return min(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Sleeper", "Spinner", "Device"])
@pytest.mark.parametrize(
    ("operation", "cost"), [("encode", ENCODE), ("decode", DECODE), ("round_trip", ENCODE + DECODE)]
)
def test_the_known_cost_is_what_is_measured(name: str, operation: str, cost: float, stand_in: Named) -> None:
    with Worker(stand_in(name), SETTINGS) as worker:
        case = Case(operation=operation, seconds=SECONDS, batch=2)
        found = least(worker, case) / case.audio_seconds
    assert cost <= found <= cost * (1 + SLACK)


def test_copies_are_counted_where_they_should_be(stand_in: Named) -> None:
    with Worker(stand_in("Device"), SETTINGS) as worker:
        for copies in (True, False):
            found = least(worker, Case(operation="round_trip", seconds=SECONDS, copies=copies)) / SECONDS
            assert ENCODE + DECODE <= found <= (ENCODE + DECODE) * (1 + SLACK)
    with Worker(stand_in("Sleeper"), SETTINGS) as worker, pytest.raises(ContenderError, match="cannot be left out"):
        worker.time(Case(operation="round_trip", seconds=SECONDS, copies=False), 1)


def test_a_device_can_tell_its_own_time(stand_in: Named) -> None:
    with Worker(stand_in("Device"), SETTINGS) as worker:
        case = Case(operation="decode", seconds=SECONDS, copies=False, clock="device")
        assert least(worker, case) == pytest.approx(DECODE * SECONDS)
    with Worker(stand_in("Sleeper"), SETTINGS) as worker, pytest.raises(ContenderError, match="no time of its own"):
        worker.time(Case(operation="decode", seconds=SECONDS, clock="device"), 1)


def test_a_missing_synchronisation_is_caught(stand_in: Named) -> None:
    schedule = Schedule(warm_up_calls=1, calls=3)
    case = Case(operation="round_trip", seconds=SECONDS)
    with Worker(stand_in("Hasty"), SETTINGS) as hasty, Worker(stand_in("Device"), SETTINGS) as device:
        found = rounds({"hasty": hasty, "device": device}, case, schedule)
    assert found["hasty"].times is not None
    assert found["hasty"].times.median >= (ENCODE + DECODE) * SECONDS  # it was waited for all the same
    assert "after the audio was said to be there" in found["hasty"].warnings[0]
    assert found["device"].warnings == ()


def test_warm_up_is_excluded(stand_in: Named) -> None:
    schedule = Schedule(warm_up_calls=3, warm_up_seconds=60, calls=3)
    with Worker(stand_in("Cold"), SETTINGS) as worker:
        times = rounds({"cold": worker}, Case(operation="round_trip", seconds=0.5), schedule)["cold"].times
    assert times is not None
    assert max(times.values) < 5 * (ENCODE + DECODE) * 0.5  # a cold one takes 10 times as long


def test_what_it_prints_is_no_answer(stand_in: Named) -> None:
    with Worker(stand_in("Talker"), SETTINGS) as worker:
        seconds, _ = worker.time(Case(operation="encode", seconds=1.0), 3)
    assert len(seconds) == 3
    assert min(seconds) > 0


def test_one_that_cannot_run_says_why() -> None:
    with pytest.raises(ContenderError, match="not here: get it"):
        Worker(Entry(name="absent", factory="benchmark_stand_ins:absent"), SETTINGS)


@pytest.mark.parametrize("factory", ["no_such_module:make", "benchmark_stand_ins:no_such_function"])
def test_one_that_is_not_there_says_so(factory: str) -> None:
    with pytest.raises(ContenderError, match="no_such"):
        Worker(Entry(name="own", factory=factory), SETTINGS)


def test_a_process_that_dies_leaves_its_last_words(stand_in: Named) -> None:
    with Worker(stand_in("Dier"), SETTINGS) as worker:
        for _ in range(2):  # and it stays dead
            with pytest.raises(ContenderError, match="ended with code 7: out of something"):
                worker.time(Case(operation="encode", seconds=1.0), 2)


def test_what_it_raises_is_told_and_it_goes_on(stand_in: Named) -> None:
    with Worker(stand_in("Raiser"), SETTINGS) as worker:
        with pytest.raises(ContenderError, match="RuntimeError: too long for me"):
            worker.time(Case(operation="encode", seconds=2.0), 1)
        assert worker.time(Case(operation="encode", seconds=1.0), 1)[0]


def test_one_that_hangs_is_given_up_and_ended(stand_in: Named) -> None:
    worker = Worker(stand_in("Hanger"), SETTINGS, timeout=20.0)
    worker._timeout = 0.5
    with pytest.raises(ContenderError, match=r"no answer for 0\.5 s"):
        worker.time(Case(operation="encode", seconds=2.0), 1)
    begun = time.perf_counter()
    worker.kill()
    assert time.perf_counter() - begun < 5


def test_start_up_is_what_a_user_waits_for(stand_in: Named) -> None:
    with Worker(Entry(name="late", factory="benchmark_stand_ins:late_starter"), SETTINGS) as worker:
        assert 0.5 < worker.load_seconds < worker.first_seconds < 30
    with Worker(stand_in("StandIn"), SETTINGS) as other:
        assert other.load_seconds < worker.load_seconds


def test_peak_memory_is_its_own_and_can_be_forgotten(stand_in: Named) -> None:
    with Worker(stand_in("Hungry"), SETTINGS) as worker:
        worker.time(Case(operation="encode", seconds=1.0), 1)
        hungry = worker.memory(reset=True)
        after = worker.memory()
    assert hungry is not None and after is not None
    assert hungry > 200e6
    if Path("/proc/self/clear_refs").exists():
        assert after < hungry - 150e6


def test_settings_and_options_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    entry = Entry(name="told", factory="benchmark_stand_ins:told", options={"window": 1.5})
    Worker(entry, Settings(threads=3, precision="float16", model="x")).close()
    told = (tmp_path / "told").read_text(encoding="utf-8")
    assert "threads=3" in told and "precision='float16'" in told and "model='x'" in told and "'window': 1.5" in told


def test_a_file_passes_through_at_its_own_rate_and_length(tmp_path: Path, stand_in: Named) -> None:
    clip = tmp_path / "clip.wav"
    audio = 0.5 * np.sin(np.arange(22050 * 2 + 17) / 30)
    soundfile.write(clip, np.stack((audio, audio), axis=1), 22050, subtype="FLOAT")
    with Worker(stand_in("StandIn"), SETTINGS) as worker:
        answer = worker.convert(str(clip), str(tmp_path / "audio.npy"), str(tmp_path / "codes.npy"))
    original, decoded = np.load(tmp_path / "audio.npy")
    assert answer["sample_rate"] == 22050
    assert answer["seconds"] == pytest.approx(len(audio) / 22050)
    np.testing.assert_allclose(original, audio, atol=1e-6)
    assert np.abs(decoded - audio)[1000:-1000].max() < 0.02  # 8 bits, and two resamplings
    assert np.load(tmp_path / "codes.npy").shape[:2] == (1, 1)
