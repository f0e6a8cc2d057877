"""Compiled graphs are kept and read again: the same numbers, and nothing that happens to the cache stops the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy import cache
from apcodec_deploy.backends import compiled as module
from apcodec_deploy.backends.compiled import KIND, compiled
from apcodec_deploy.backends.openvino import OpenVinoBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.ov import import_openvino, open_core

CONFIG = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    return tmp_path / KIND


@pytest.fixture(scope="module")
def core() -> Any:
    return open_core()


class Small:
    """A graph whose weight is ``scale``, and how often it was made."""

    def __init__(self, scale: float = 2.0) -> None:
        self.scale, self.made = scale, 0

    def __call__(self) -> Any:
        self.made += 1
        openvino = import_openvino()
        ops = openvino.opset13
        audio = ops.parameter([4], np.float32, name="audio")
        return openvino.Model([ops.multiply(audio, ops.constant(np.float32(self.scale)))], [audio], "small")


def result(model: Any) -> list[float]:
    found: NDArray[np.float32] = model([np.arange(4, dtype=np.float32)])[0]
    return [float(value) for value in found]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_second_time_nothing_is_compiled(core: Any, folder: Path) -> None:
    small = Small()
    for _ in range(3):
        assert result(compiled(core, small, facts={"graph": "a"}, config=CONFIG)) == [0, 2, 4, 6]
    assert small.made == 1 and len(files(folder)) == 1


def test_other_facts_are_another_graph(core: Any, folder: Path) -> None:
    for scale in (2.0, 3.0):
        found = result(compiled(core, Small(scale), facts={"graph": f"times {scale}"}, config=CONFIG))
        assert found == [0, scale, 2 * scale, 3 * scale]
    assert len(files(folder)) == 2


@pytest.mark.parametrize("damage", [b"", b"x", "cut", "flipped", "swapped"])
def test_a_damaged_file_is_made_anew(core: Any, folder: Path, damage: bytes | str) -> None:
    compiled(core, Small(), facts={"graph": "a"}, config=CONFIG)
    (file,) = files(folder)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    damaged = {"cut": whole[:-5], "flipped": bytes(flipped), "swapped": whole[32:] + whole[:32]}
    file.write_bytes(damage if isinstance(damage, bytes) else damaged[damage])
    small = Small()
    for _ in range(2):
        assert result(compiled(core, small, facts={"graph": "a"}, config=CONFIG)) == [0, 2, 4, 6]
    assert small.made == 1


def test_what_openvino_cannot_read_is_made_anew(core: Any, folder: Path) -> None:
    compiled(core, Small(), facts={"graph": "a"}, config=CONFIG)
    (file,) = files(folder)
    import hashlib

    other = b"written by another build of OpenVINO"
    file.write_bytes(hashlib.sha256(other).digest() + other)
    small = Small()
    for _ in range(2):
        assert result(compiled(core, small, facts={"graph": "a"}, config=CONFIG)) == [0, 2, 4, 6]
    assert small.made == 1


def test_a_cache_that_cannot_be_written_stops_nothing(
    core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(blocked))
    small = Small()
    for _ in range(2):
        assert result(compiled(core, small, facts={"graph": "a"}, config=CONFIG)) == [0, 2, 4, 6]
    assert small.made == 2 and blocked.read_text() == ""


def test_many_at_once_leave_one_whole_file(core: Any, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: compiled(core, Small(), facts={"graph": "a"}, config=CONFIG), range(16))
        assert [result(model) for model in found] == [[0, 2, 4, 6]] * 16
    assert len(files(folder)) == 1


def test_what_was_not_used_for_longest_goes_first(core: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    for index in range(3):
        compiled(core, Small(index), facts={"graph": index}, config=CONFIG)
        (new,) = set(files(folder)) - set(made)
        os.utime(new, (index, index))
        made.append(new)
    compiled(core, Small(0), facts={"graph": 0}, config=CONFIG)  # used again
    monkeypatch.setattr(module, "MOST_BYTES", int(3.5 * made[0].stat().st_size))
    compiled(core, Small(3), facts={"graph": 3}, config=CONFIG)
    left = files(folder)
    assert len(left) == 3 and made[1] not in left and made[0] in left and made[2] in left


@pytest.fixture
def speech_codes() -> Iterator[tuple[Bundle, NDArray[np.float32]]]:
    rng = np.random.default_rng(5)
    yield Bundle.embedded(), (0.1 * rng.normal(size=(1, 6400))).astype(np.float32)


@pytest.mark.parametrize("precision", ["float32", pytest.param("int8", marks=pytest.mark.processor)])
def test_a_models_codes_are_the_same_from_the_cache(
    core: Any, folder: Path, speech_codes: tuple[Bundle, NDArray[np.float32]], precision: str
) -> None:
    bundle, audio = speech_codes
    found = []
    for threads in (1, 2):
        backend = OpenVinoBackend(bundle, core, precision=precision, threads=threads)
        codes = backend.encode(audio)
        found.append((codes, backend.decode(codes)))
        assert len(files(folder)) == 6  # the second one found all that it needed
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)
