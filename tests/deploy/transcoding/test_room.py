"""How many calls at a time memory has room for."""

from __future__ import annotations

import pytest

from apcodec_deploy import Codec
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.cli import conversion
from apcodec_deploy.transcoding import pipeline, room
from apcodec_deploy.transcoding.pipeline import open_pipeline
from apcodec_deploy.transcoding.room import Room

GB = 10**9


@pytest.mark.parametrize(
    ("free", "wanted", "expected"), [(None, 64, 64), (10 * GB, 64, 8), (10 * GB, 3, 3), (GB, 64, 1), (0, 2, 1)]
)
def test_calls_are_as_many_as_have_room_and_at_least_one(free: int | None, wanted: int, expected: int) -> None:
    assert Room(free, GB).calls(wanted) == expected


def test_a_call_takes_what_its_window_does(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 8 * GB)
    usual, short, whole = (Room.of(codec.spec, window).needed for window in (None, 0.5, "whole"))
    assert 0.2 * GB < usual < 0.5 * GB  # 0.22 were measured with the demo model, 0.33 with the published shape
    assert short < usual / 3 and whole > 15 * usual


def test_a_job_in_little_memory_has_fewer_lanes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "available_cpus", lambda: 64)
    monkeypatch.setattr(room, "available_memory", lambda: 2 * GB)
    with (opened := open_pipeline(None, BackendOptions(), files=1000, devices="cpu")).codec:
        assert opened.lanes == 4 and opened.jobs == 5
        assert opened.bounded is not None
        assert opened.bounded.startswith("memory has room for 4 files at a time in the codec, not 64: 2.0 GB are free")
    with (opened := open_pipeline(None, BackendOptions(), files=3, devices="cpu")).codec:
        assert opened.lanes == 3 and opened.bounded is None


def test_files_named_one_by_one_are_bounded_too(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 2 * GB)
    assert conversion.affordable_jobs(codec, 2, None) == 2
    assert capsys.readouterr().err == ""
    assert conversion.affordable_jobs(codec, 20, "whole") == 1
    assert "not 20" in capsys.readouterr().err
