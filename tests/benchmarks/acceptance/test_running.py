"""Parts in processes of their own: what one of them does never costs what the others found."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks.acceptance import running
from apcodec_benchmarks.acceptance.journal import Journal, found_in
from apcodec_benchmarks.acceptance.parts import Part
from apcodec_benchmarks.acceptance.running import INTERRUPTED, RESULT, Acceptance, passed


def part(name: str, *, seconds: float = 1.0, limit: float = 20.0) -> Part:
    return Part(name=name, title=f"the part {name}", seconds=seconds, limit=limit, function="nothing:run")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    monkeypatch.setattr(running, "environment", lambda: {"gpus": [{"name": "an H100"}]})


def run(folder: Path, *parts: Part, **options: Any) -> dict[str, Any]:
    lines: list[str] = []
    acceptance = Acceptance(parts=parts, folder=folder, module="acceptance_stand_in", **options)
    result = acceptance.run(lines.append)
    assert json.loads((folder / RESULT).read_text()) == result
    return {each["part"]: each for each in result["parts"]} | {"result": result, "said": "\n".join(lines)}


def test_a_part_that_fails_dies_or_hangs_leaves_the_others_alone(tmp_path: Path) -> None:
    found = run(tmp_path, part("fails"), part("dies"), part("hangs", limit=3), part("passes"))
    statuses = {name: found[name]["status"] for name in ("fails", "dies", "hangs", "passes")}
    assert statuses == {"fails": "failed", "dies": "ended", "hangs": "ended", "passes": "passed"}
    assert "ended with code -6" in found["dies"]["problem"]
    assert found["hangs"]["problem"] == "it took longer than its 3 s"
    assert all(len(found[name]["checks"]) == 1 for name in statuses)  # found before, and kept
    assert "FAILED something: it is so" in found["said"]
    assert not passed(found["result"], [part("fails")])


def test_what_passed_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    run(tmp_path, part("passes"), part("fails"))
    found = run(tmp_path, part("passes"), part("fails"))
    assert (tmp_path / "runs").read_text().split() == ["passes", "fails", "fails"]
    assert found["passes"]["status"] == "passed"
    run(tmp_path, part("passes"), fresh=True)
    assert (tmp_path / "runs").read_text().split() == ["passes", "fails", "fails", "passes"]


def test_what_passed_elsewhere_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, part("passes"), rehearsed=True)
    run(tmp_path, part("passes"))
    monkeypatch.setattr(running, "environment", lambda: {"gpus": [{"name": "an H200"}]})
    run(tmp_path, part("passes"))
    assert (tmp_path / "runs").read_text().split() == ["passes"] * 3


def test_a_result_keeps_what_earlier_runs_found_in_other_parts(tmp_path: Path) -> None:
    run(tmp_path, part("device"))
    run(tmp_path, part("fails"))
    found = run(tmp_path, part("folder"))
    assert [each["part"] for each in found["result"]["parts"]] == ["device", "folder"]  # a part that is none is gone
    assert found["device"]["note"] == "of an earlier run"
    Journal(tmp_path, "tensorrt", "an H200").end()
    assert "tensorrt" not in run(tmp_path, part("folder"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str)
def test_a_run_that_is_ended_takes_its_part_along_and_keeps_what_was_found(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as process:
        wait_for(lambda: (tmp_path / "hangs").exists())
        process.send_signal(number)
        said, _ = process.communicate(timeout=20)
    wait_for(lambda: not alive(int((tmp_path / "hangs").read_text())))
    (check,) = found_in(tmp_path, "hangs", "no GPU")["checks"]
    assert check["what"] == "something"
    if number != signal.SIGKILL:
        assert process.returncode == 1
        (held,) = json.loads((tmp_path / RESULT).read_text())["parts"]
        assert (held["status"], held["problem"]) == ("ended", INTERRUPTED)
        assert held["checks"] == [check]
        assert "| hangs | ended; it was interrupted; the same command goes on |" in said


PROGRAM = """
import sys
from pathlib import Path
from apcodec_benchmarks.acceptance import program, running
from apcodec_benchmarks.acceptance.parts import Part

running.environment = lambda: {"gpus": [], "packages": {}, "apcodec-deploy": "0", "revision": None}
part = Part(name="hangs", title="it hangs", seconds=1.0, limit=30.0, function="nothing:run")
program.PART, program.lacking, program.told = "acceptance_stand_in", lambda *_, **__: {}, lambda *_, **__: []
program.parts_named = lambda names: [part]
program.listen()
sys.exit(program.main(["--out", sys.argv[1]]))
"""


def started(folder: Path) -> subprocess.Popen[str]:
    """A whole run with one part, which hangs."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_does_not_fit_is_left_out_from_the_end(tmp_path: Path) -> None:
    found = run(tmp_path, part("passes", seconds=1), part("long", seconds=3600), part("short", seconds=1), minutes=1)
    assert [found[name]["status"] for name in ("passes", "long", "short")] == ["passed", "left out", "left out"]
    assert passed(found["result"], [part("passes"), part("long")])
    assert "long: left out" in found["said"]
