"""What tests of several packages share: golden cases, clips, and models ready to run."""

from __future__ import annotations

import os

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Test processes share the CPUs, where threads that wait for each other cost more than they bring; those of PyTorch
    # take ten times as long. So each process has one CPU, as has what it starts. There is one process more than CPUs;
    # that one runs where there is room, with threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        cpus, number = os.sched_getaffinity(0), int(worker.removeprefix("gw"))
        os.sched_setaffinity(0, sorted(cpus)[number : number + 1] or cpus)

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from crowd import Ends
from hypothesis import settings
from made_once import made_once, of_the_run
from numpy.typing import NDArray
from parsed_once import parse_operators_once

import apcodec_deploy
from apcodec_deploy import cache
from apcodec_deploy.backends.base import ONNXRUNTIME
from apcodec_deploy.backends.choice import CPU_VARIABLE
from apcodec_deploy.bundle import STREAMABLE_DEMO, Bundle
from apcodec_deploy.machine import give_back_memory

if TYPE_CHECKING:
    from apcodec_deploy import Codec
    from apcodec_export.checkpoint import Checkpoint
    from apcodec_export.network import NetworkConfig

settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
PROVEN = ("proven_bundle", "proven_remembering_bundle")
"""Bundles that take long to make, for slow tests."""
SLOW_TO_MAKE = pytest.param(None, marks=pytest.mark.slow, id=pytest.HIDDEN_PARAM)
"""The only parameter of a fixture that takes long to make: tests that use it are slow."""
FAMILIES = {"grn": GOLDEN / "apcodec_48k_grn_tiny", "layerscale": GOLDEN / "apcodec_16k_layerscale_tiny"}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Ends())
    # Started with nohup or in the background of a script, what tests start would ignore these, too.
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)  # Windows lacks the second
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests and what they start leave the user's cache alone; what one of them proves or compiles serves all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(of_the_run(tmp_path_factory) / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _float32_on_cpus() -> Iterator[None]:
    """Tests compare with float32: ``auto`` takes it, though the faster OpenVINO is installed for its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CPU_VARIABLE, ONNXRUNTIME)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is slow where the export that it needs takes long to make and serves few. The longest tests come first."""
    for item in items:
        if _waits_for_an_export(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def _waits_for_an_export(item: pytest.Item) -> bool:
    needed, case = set(getattr(item, "fixturenames", ())), getattr(item, "callspec", None)
    of_second_family = case is not None and case.params.get("family") == "layerscale"
    return not needed.isdisjoint(PROVEN) or ("bundle" in needed and of_second_family)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that imports and collecting make is garbage for long: looking for it takes a quarter of their time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep modules out of garbage collection: millions of objects, which would take an eighth of the suite's time."""
    gc.collect()
    gc.freeze()
    parse_operators_once()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After each file, give freed memory back to the system, which the C library would keep.

    What outlives a file is what the whole run shares: that, too, is kept out of later collections.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
        give_back_memory()


@pytest.fixture
def every_cpu() -> Iterator[None]:
    """A test in which threads and processes are to meet by chance has all CPUs."""
    if "PYTEST_XDIST_WORKER" not in os.environ or not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))  # of the process that shares out the tests
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example clips."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def speech(examples: Path) -> NDArray[np.float32]:
    """6.7 s of speech at 48 kHz."""
    audio, _ = soundfile.read(examples / "speech_female_48k.wav", dtype="float32")
    return np.asarray(audio, np.float32)


@pytest.fixture(scope="session")
def codec() -> Iterator[Codec]:
    """The embedded demo model."""
    with apcodec_deploy.load() as loaded:
        yield loaded


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Path:
    """The checkpoint directory of each golden family in turn, or of the one that a test names."""
    return FAMILIES[request.param]


@pytest.fixture(scope="session")
def clips(family: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """The golden clips of a family: arrays by name, by clip."""
    return {path.stem: dict(np.load(path)) for path in sorted(family.glob("*.npz"))}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the bundle of a name in ``tests/exports.py``, exported once per test run."""
    from exports import EXPORTS, IN_EVERY_RUN

    others = {name: EXPORTS[name] for name in IN_EVERY_RUN}
    return lambda name: made_once(name, EXPORTS[name], tmp_path_factory, others)


@pytest.fixture(scope="session")
def grn_bundle(exported: Callable[[str], Path]) -> Path:
    """The float32 graphs of the golden checkpoint of the 48 kHz code, as a bundle."""
    return exported(FAMILIES["grn"].name)


@pytest.fixture(scope="session")
def bundle(family: Path, exported: Callable[[str], Path]) -> Path:
    """The float32 graphs of each golden family in turn, as a bundle; the second one's are verified."""
    return exported(family.name)


@pytest.fixture(scope="session")
def proven_bundle(exported: Callable[[str], Path]) -> Path:
    """The verified float32 graphs of the golden checkpoint of the 16 kHz code."""
    return exported(FAMILIES["layerscale"].name)


@pytest.fixture(scope="session")
def streamable_bundle(exported: Callable[[str], Path]) -> Path:
    """A small feed-forward streamable model of random weights, in float32 and int8."""
    return exported("streamable")


@pytest.fixture(scope="session")
def remembering_bundle() -> Path:
    """The embedded streamable model: float32 graphs with six frames of history."""
    return Bundle.embedded(STREAMABLE_DEMO).path


@pytest.fixture(scope="session")
def proven_remembering_bundle(exported: Callable[[str], Path]) -> Path:
    """A small one with six frames of history, as users export it."""
    return exported("remembering")


@pytest.fixture(scope="session")
def unpublished_bundle(exported: Callable[[str], Path]) -> Path:
    """The checkpoint ``unpublished_grn``, as users export it."""
    return exported("unpublished")


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """The PyTorch checkpoint behind the embedded model."""
    return ROOT / "training" / "demo"


@pytest.fixture(scope="session")
def unpublished() -> NetworkConfig:
    """A small network of neither published family."""
    from exports import UNPUBLISHED

    return UNPUBLISHED


@pytest.fixture(scope="session")
def unpublished_grn() -> Checkpoint:
    """Random weights for its sibling with GRN and without projections."""
    from exports import unpublished_grn

    return unpublished_grn()
