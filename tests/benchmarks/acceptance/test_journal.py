"""What a part found is on disk as soon as it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from apcodec_benchmarks.acceptance import process
from apcodec_benchmarks.acceptance.journal import Journal, found_in
from apcodec_benchmarks.measurements import Case, Distribution


def test_every_finding_is_written_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "device")
    assert found_in(tmp_path, "device", "")["status"] == "running"
    journal.check("it is there", True)
    journal.fact("gpu", "a card")
    journal.figure("codec", Case(operation="encode", seconds=2.0, batch=4), Distribution((0.5, 1.0, 2.0)), share=0.25)
    found = found_in(tmp_path, "device", "")
    assert found["facts"] == {"gpu": "a card"}
    assert (found["figures"][0]["real_time"], found["figures"][0]["ceiling_share"]) == (8.0, 0.25)
    assert journal.end()
    assert found_in(tmp_path, "device", "")["status"] == "passed"


def test_what_fails_inside_is_a_failed_check_with_its_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "device")
    with journal.guarded("a division"):
        raise ZeroDivisionError("division by zero")
    (check,) = found_in(tmp_path, "device", "")["checks"]
    assert (check["what"], check["passed"]) == ("a division", False)
    assert check["detail"].startswith("division by zero (test_journal.py:")
    assert not journal.end()
    assert found_in(tmp_path, "device", "")["status"] == "failed"


def test_nothing_or_something_damaged_is_as_good_as_nothing(tmp_path: Path) -> None:
    assert found_in(tmp_path, "device", "") == {}
    (tmp_path / "device.json").write_text("[1")
    assert found_in(tmp_path, "device", "") == {}


def test_clocks_are_noted_where_there_is_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "device")
    for cards in ([], [{"name": "an H100", "clocks.sm": "1830 MHz"}]):
        monkeypatch.setattr(process, "gpus", lambda cards=cards: cards)
        process.note_cards(journal)
        assert found_in(tmp_path, "device", "")["facts"] == ({"cards at the end": cards} if cards else {})


def test_what_was_found_elsewhere_is_not_taken(tmp_path: Path) -> None:
    Journal(tmp_path, "device", "an H100").fact("gpu", "a card")
    assert found_in(tmp_path, "device", "an H100")["facts"] == {"gpu": "a card"}
    assert found_in(tmp_path, "device", "an H200") == found_in(tmp_path, "device", "rehearsal") == {}
