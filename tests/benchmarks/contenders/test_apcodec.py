"""The GPU's own time for APCodec: TensorRT's engines have one, and whatever has none says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gpu_simulator.building import simulated_set
from gpu_simulator.machine import Machine
from gpu_simulator.streams import VirtualClock
from numpy.typing import NDArray

from apcodec_benchmarks.contenders import apcodec as module
from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import HasDeviceTime, Settings
from apcodec_deploy.backends.base import Backend
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import ContenderError

SMALL = Profile(name="small", shapes=(Shapes(Range(1, 2, 2), Range(1, 20, 20)),))
ENGINE_SECONDS = 0.125


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSet:
    """Engines for clips of up to 20 latents, two at a time."""
    return simulated_set(Bundle.embedded(), tmp_path_factory.mktemp("engines"), SMALL)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], ApcodecContender]:
    """The contender as it is on a machine whose GPU this backend uses."""

    def make(backend: Backend) -> ApcodecContender:
        monkeypatch.setattr(module, "create", lambda bundle, options: backend)
        return ApcodecContender(Settings(threads=1, device="cuda", options={"backend": backend.name}))

    return make


@pytest.fixture
def machine(stored: StoredSet) -> Machine:
    """A GPU on which only engines and copies take time, and copies take more."""
    made = Machine(stored, clock=VirtualClock(), copy_seconds=10)
    made.module.faults.seconds = ENGINE_SECONDS
    return made


def clips(speech: NDArray[np.float32], count: int, samples: int) -> NDArray[np.float32]:
    return np.stack([speech[30_000 + 3000 * row :][:samples] for row in range(count)])


def test_each_direction_tells_the_time_of_its_own_engine(
    on: Callable[[Backend], ApcodecContender], machine: Machine, speech: NDArray[np.float32]
) -> None:
    contender = on(machine.backend)
    assert isinstance(contender, HasDeviceTime)
    assert contender.device_seconds("encode", clips(speech, 2, 6000)) == ENGINE_SECONDS
    (encoder,) = machine.module.engines
    before = encoder.runs
    assert contender.device_seconds("decode", clips(speech, 2, 6000)) == ENGINE_SECONDS
    assert encoder.runs == before + 1  # the codes to decode
    (_, decoder) = machine.module.engines
    assert decoder.runs == 3  # one for the shapes, one ahead, one between the events


def test_the_contender_codes_as_before_it_was_timed(
    on: Callable[[Backend], ApcodecContender], machine: Machine, speech: NDArray[np.float32]
) -> None:
    contender, audio = on(machine.backend), clips(speech, 2, 6000)
    before = contender.encode(audio)
    contender.device_seconds("encode", clips(speech, 1, 5000))
    contender.device_seconds("decode", audio[::-1].copy())
    after = contender.encode(audio)
    np.testing.assert_array_equal(contender.codes(after), contender.codes(before))
    np.testing.assert_array_equal(contender.decode(after), contender.decode(before))


@pytest.mark.parametrize("operation", ["encode", "decode"])
@pytest.mark.parametrize(
    ("count", "samples", "words"),
    [(1, 20 * 320, "a clip of 21 latents; .* take 1 to 20"), (3, 6000, "3 rows; .* take 1 to 2 ")],
    ids=["longer", "more"],
)
def test_audio_that_is_no_single_call_is_refused(
    on: Callable[[Backend], ApcodecContender],
    machine: Machine,
    speech: NDArray[np.float32],
    operation: str,
    count: int,
    samples: int,
    words: str,
) -> None:
    with pytest.raises(ContenderError, match=words):
        on(machine.backend).device_seconds(operation, clips(speech, count, samples))


def test_onnx_runtime_on_a_gpu_claims_no_time_of_the_device(
    on: Callable[[Backend], ApcodecContender], speech: NDArray[np.float32]
) -> None:
    contender = on(OnnxRuntimeBackend(Bundle.embedded(), threads=1))
    with pytest.raises(ContenderError, match="ONNX Runtime tells no device time; see mode 'throughput'"):
        contender.device_seconds("encode", clips(speech, 1, 6000))


def test_the_cpu_has_no_clock_of_its_own(speech: NDArray[np.float32]) -> None:
    contender = ApcodecContender(Settings(threads=1))
    with pytest.raises(ContenderError, match="it has no device with a clock of its own"):
        contender.device_seconds("encode", clips(speech, 1, 6000))
