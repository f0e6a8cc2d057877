"""A set of engines keeps itself: built once, named when stale, never half there, and nobody else's files touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from conftest import SLOW_TO_MAKE

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BuildError, EngineError, OutputError
from apcodec_engines import building
from apcodec_engines.building import build_engines
from apcodec_engines.planning import BuildOptions

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="TensorRT-RTX has wheels for Linux on x86-64 only"
)
OPTIONS = BuildOptions(flavour="rtx", precision="fp16")


@pytest.mark.slow
@pytest.mark.usefixtures("copied")
@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
def test_the_cache_is_the_users_own(demo: Bundle, cache: Path) -> None:
    built = build_engines(demo, OPTIONS)
    assert stat.S_IMODE(built.stored.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(built.stored.path.parent.stat().st_mode) & 0o022 == 0


@pytest.mark.usefixtures("copied")
@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
def test_a_cache_that_is_there_keeps_its_permissions(demo: Bundle, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o755)
    build_engines(demo, OPTIONS)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o755


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
def test_a_named_place_is_as_the_users_umask_has_it(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) & 0o700 == 0o700
    assert not stat.S_IMODE(made.stat().st_mode) & 0o022


@pytest.fixture(scope="module", params=[SLOW_TO_MAKE])
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines of the demo model, to be copied."""
    path = tmp_path_factory.mktemp("made") / "engines"
    build_engines(Bundle.embedded(), replace(OPTIONS, out=path))
    return path


@pytest.fixture
def engines(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "engines"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled, in the place of compiling it."""
    names: list[str] = []

    class Compiler:
        def __init__(self, *_: Any) -> None:
            pass

        def run(self, network: Any, progress: Any) -> dict[str, Any]:
            names.append(network.name)
            raise BuildError("not here")

    monkeypatch.setattr(building, "Compiler", Compiler)
    return names


@pytest.fixture
def copied(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes no time: it gives engines that were compiled before, marked by what they were wanted for."""
    stored = StoredSet.open(made)
    held = {engine.name: stored.read(engine) for engine in stored.manifest.engines}

    class Compiler:
        def __init__(self, flavour: Any, identity: Any, spec: Any, work: Path, *_: Any) -> None:
            self._identity, self._work = identity, work

        def run(self, network: Any, progress: Any) -> dict[str, Any]:
            (self._work / "engine").write_bytes(held[network.name] + repr(self._identity).encode())
            return {"audit": {}, "seconds": 0.1}

    monkeypatch.setattr(building, "Compiler", Compiler)


def test_a_second_build_finds_the_set_up_to_date(demo: Bundle, engines: Path, compiled: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in engines.iterdir() if path.name != ".lock"}
    built = build_engines(demo, replace(OPTIONS, out=engines))
    assert built.up_to_date
    assert compiled == []
    assert before == {path: path.stat().st_mtime_ns for path in engines.iterdir() if path.name != ".lock"}


def _other_weights(demo: Bundle, tmp_path: Path) -> Bundle:
    """The demo model with one weight of its fp16 decoder changed."""
    path = Path(shutil.copytree(demo.path, tmp_path / "bundle"))
    model = onnx.load(path / "decoder.fp16.onnx")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("embed.inside.weight"))
    weight.raw_data = bytes(2) + weight.raw_data[2:]
    onnx.save(model, path / "decoder.fp16.onnx")
    manifest = json.loads((path / "model.json").read_text())
    digest = hashlib.sha256((path / "decoder.fp16.onnx").read_bytes()).hexdigest()
    manifest["variants"]["float16"]["graphs"]["decoder"]["sha256"] = digest
    (path / "model.json").write_text(json.dumps(manifest))
    return Bundle.open(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("weight", "the engines are stale: decoder.fp16.onnx changed since"),
        ("precision", "the engines are stale: precision is float16, float32 is wanted"),
        ("profile", "the engines are stale: profile is low-latency, throughput is wanted"),
        ("parts", "the engines are stale: parts is False, True is wanted"),
        ("force", "a build was asked for"),
        ("truncated", "engines.json says"),
        ("edited", "its checksum differs"),
        ("missing", "cannot be read"),
        ("manifest", "it is damaged"),
        ("edited manifest", "it was edited or damaged: its own checksum differs"),
    ],
)
def test_what_is_stale_is_named_and_built_again(
    demo: Bundle, engines: Path, compiled: list[str], tmp_path: Path, change: str, reason: str
) -> None:
    options = replace(OPTIONS, out=engines)
    file = engines / StoredSet.open(engines).manifest.engines[0].file
    if change == "weight":
        demo = _other_weights(demo, tmp_path)
    elif change in ("precision", "profile", "parts", "force"):
        values = {"precision": "fp32", "profile": "throughput", "parts": True, "force": True}
        options = replace(options, **{change: values[change]})
    elif change == "truncated":
        os.truncate(file, 1000)
    elif change == "edited":
        with file.open("r+b") as opened:
            opened.seek(500)
            opened.write(b"edited")
    elif change == "missing":
        file.unlink()
    elif change == "manifest":
        (engines / MANIFEST).write_text("{}")
    else:
        text = (engines / MANIFEST).read_text()
        (engines / MANIFEST).write_text(text.replace('"batch": [', '"batch" : [').replace("codes", "modes"))
    said: list[str] = []
    with pytest.raises(BuildError, match="not here"):
        build_engines(demo, options, say=said.append)
    assert len(compiled) == 1
    assert reason in said[0]
    assert said[0].endswith("; building")


def test_a_build_that_fails_leaves_the_old_set_as_it_was(demo: Bundle, engines: Path, compiled: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in engines.iterdir()}
    with pytest.raises(BuildError):
        build_engines(demo, replace(OPTIONS, out=engines, force=True))
    assert before == {path.name: path.read_bytes() for path in engines.iterdir()}


@pytest.mark.usefixtures("copied")
def test_a_rebuild_leaves_what_is_not_its_own_and_the_set_that_somebody_may_be_reading(
    demo: Bundle, engines: Path
) -> None:
    theirs = {"notes.txt", "resnet.engine", "encode-of-mine.engine"}
    for name in theirs:
        (engines / name).write_text("the user's own")
    (engines / ".build-stuff").mkdir()
    (engines / "decode-0123456789ab.engine").mkdir()  # in the way of a clean-up, which must not fail the build
    old = StoredSet.open(engines)
    built = build_engines(demo, replace(OPTIONS, out=engines, precision="fp32"))
    for engine in old.manifest.engines:
        old.read(engine)
    kept = theirs | {MANIFEST, ".lock", ".build-stuff", "decode-0123456789ab.engine"}
    both = {engine.file for each in (old, built.stored) for engine in each.manifest.engines}
    assert {path.name for path in engines.iterdir()} == kept | both
    # The next build removes the set before the last one.
    last = build_engines(demo, replace(OPTIONS, out=engines, precision="fp32", profile="max-window"))
    both = {engine.file for each in (built, last) for engine in each.stored.manifest.engines}
    assert {path.name for path in engines.iterdir()} == kept | both


def test_what_a_killed_build_left_goes_even_where_the_set_is_up_to_date(demo: Bundle, engines: Path) -> None:
    (engines / ".apcodec-build-killed").mkdir()
    (engines / ".apcodec-build-killed" / "engine").write_bytes(b"half")
    assert build_engines(demo, replace(OPTIONS, out=engines)).up_to_date
    assert not list(engines.glob(".apcodec-build-*"))


def test_the_builders_process_ends_with_ours(tmp_path: Path) -> None:
    code = "import sys; from apcodec_deploy.cli.main import main; sys.argv[0] = 'apcodec'; main()"
    command = [sys.executable, "-c", code, "build", "--flavour", "rtx", "--profile", "throughput", "--out"]
    with subprocess.Popen(
        [*command, str(tmp_path / "engines")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ours:
        children = Path(f"/proc/{ours.pid}/task/{ours.pid}/children")
        child = _within(60, lambda: children.read_text().split()[0])
        ours.kill()
    _within(30, lambda: not Path(f"/proc/{child}").exists() or _zombie(child))


def _zombie(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def _within(seconds: float, look: Callable[[], Any]) -> Any:
    """What ``look`` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError, IndexError):
            if found := look():
                return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that in time")


@pytest.mark.slow
def test_two_builds_at_once_end_with_one_good_set(tmp_path: Path) -> None:
    out = tmp_path / "engines"
    code = "import sys; from apcodec_deploy.cli.main import main; sys.argv[0] = 'apcodec'; main()"
    command = [sys.executable, "-c", code, "build", "--flavour", "rtx", "--out", str(out), "--json"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert sorted(json.loads(output)["status"] for output, _ in answers) == ["built", "up to date"]
    stored = StoredSet.open(out)
    for engine in stored.manifest.engines:
        stored.read(engine)


def test_a_place_that_cannot_be_written_is_said_so(demo: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        build_engines(demo, replace(OPTIONS, out=tmp_path / "file" / "engines"))


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
def test_a_place_that_everybody_may_write_to_is_refused(demo: Bundle, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(EngineError, match="everybody may write to"):
        build_engines(demo, replace(OPTIONS, out=tmp_path))
